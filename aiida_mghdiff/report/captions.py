"""Captions of the figures on the page."""

from __future__ import annotations

CAPTIONS = {
    'workflow': (
        'The steps of this study, from the links of its provenance graph. An arrow means that the output of one step '
        'is an input of the other. Below each title: the number of processes (or given nodes) of each kind. Steps '
        'that only prepare inputs are not shown, nor are arrows that a chain of other arrows implies.'
    ),
    'rmse': (
        'Errors on held-out configurations and, if given, on the frames of validations. Hatched: pre-trained; dotted: '
        'trained from scratch; plain: fine-tuned.'
    ),
    'rmse_contents': (
        'Errors on the configurations of each composition separately, the energies after the shift of the '
        'composition is removed.'
    ),
    'parity': (
        'Predicted energies and force components against the labels. Energies are relative to the mean of their '
        'composition, which removes the constant shift between codes. R² in this figure ignores the differences '
        'between compositions; R² in the table includes them.'
    ),
    'learning_curves': 'Errors on the validation set during training; the best epoch was kept.',
    'sites': (
        'Interstitial sites of the host and the named paths between them. Dots: positions of the tracer in the images '
        'of the bands of the best potential.'
    ),
    'barriers': (
        'Barriers by climbing-image NEB, for each direction of a path that starts at a minimum. An asterisk marks a '
        'highest image that is not a saddle point. Fills as in the figure of errors; '
        'white: DFT.'
    ),
    'paths': 'Energy along the paths, relative to their start; each mark is an image of the band.',
    'frame': (
        'The last full frame of the first run of the best potential at its highest temperature, wrapped into the cell.'
    ),
    'coefficients': (
        'Diffusion coefficients, each with its 95 % interval in the same power of ten. D₀ is the reference of the '
        'comparison; colours show the difference in decades. A fit D₀ is taken at the measured mean temperature, '
        'since runs with the same target temperature differ in their measured temperature.'
    ),
    'msd': (
        'Mean squared displacement of the tracers, one line for each replica, with the straight lines that give D. '
        'Beyond the window of the fit few time origins are left, and the lines of replicas differ by chance.'
    ),
    'windows': (
        'D by least squares up to a lag, against the lag: a reliable D does not depend on the lag. The band is one '
        'standard error of ln D, from the scatter of the tracers; intervals may extend beyond the figure.'
    ),
    'arrhenius': (
        'Diffusion coefficients at the measured mean temperatures, with 95 % intervals; some may '
        'extend beyond the figure. Lines and bands: weighted fits and their 95 % bands, dotted and paler beyond the '
        'temperatures of the fit. Open marks with arrows: no jump was seen, so D lies below. '
        'The grey line shows only the slope of the experiment: it is drawn through the '
        'hottest point of the first fit, and its height is not measured.'
    ),
    'rates': (
        'Diffusion coefficients from rates of hops, compared with MD of the same potential. Rates come from barriers '
        'and vibrations (classical, as in MD, and with zero-point energies and quantum vibrations, as in an '
        'experiment), or from the jumps counted in MD, extrapolated for each class of jumps (open marks: beyond the '
        'temperatures of the MD). Bands are 95 % intervals; for barriers they come from the error of the potential on '
        'held-out energies.'
    ),
    'activation_energies': (
        'Activation energies with their 95 % intervals. Open diamonds: published values; dash-dotted: the experiment.'
    ),
    'contents': 'Diffusion coefficients and activation energies against the content of tracers, with 95 % intervals.',
    'track': (
        'The unwrapped path of one tracer relative to the host, coloured by time, for at most the first 100 ps of the '
        'run. The mean squared distance of this tracer from its start is nearest to the median of all tracers. '
        'Spheres: mean positions of the host atoms near the path.'
    ),
    'rdf': 'Radial distribution functions of the NVE runs; several contents of one potential go from dark to light.',
    'rdf_sites': (
        'Radial distributions by site: host atoms around tracers on octahedral and on tetrahedral sites; pairs of '
        'tracers, compared with tracers on random sites, whose distribution has peaks, too.'
    ),
    'density': (
        'Density of the tracer in the plane through c that contains octahedral and tetrahedral sites and host atoms, '
        'all runs folded into one hcp unit cell.'
    ),
    'pairs': (
        'Distribution of the number of pairs of tracers within the cut-off: measured, by Poisson’s law with the same '
        'mean λ, and for tracers placed on the sites at random; a row for each potential and content. Last panel: λ '
        'with its standard error; open marks: random sites.'
    ),
    'conservation': (
        'Temperature and total energy (relative to its mean) in the runs without a thermostat, for each potential and '
        'time step at the highest temperature. Dashed: target temperature.'
    ),
}
