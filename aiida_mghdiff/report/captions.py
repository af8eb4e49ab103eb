"""What stands below each figure of the page."""

from __future__ import annotations

CAPTIONS = {
    'scheme': (
        'The steps of this study and what fed what, drawn from the links of its provenance graph: below each title '
        'the number of processes (or given nodes) of each kind. Steps that only prepare something for others are '
        'passed through, and an arrow that a chain of others implies is left out.'
    ),
    'rmse': (
        'Errors on held-out configurations, and on the frames of validations where some were given. Hatched: '
        'pre-trained; dotted: trained from scratch; plain: fine-tuned.'
    ),
    'rmse_contents': (
        'Errors on the configurations of each composition on their own, the energies after the shift of the '
        'composition is removed.'
    ),
    'parity': (
        'Predicted against reference energies and force components. Energies are about the mean of their composition, '
        'which takes the constant shift between codes out of them. R² here leaves out the differences between '
        'compositions, which that of the table counts.'
    ),
    'learning_curves': 'Errors on the validation set during training; the best epoch is the one that was kept.',
    'sites': (
        'Interstitial sites of the host and the named paths between them. Dots: where the tracer is in the images '
        'of the bands of the best potential.'
    ),
    'barriers': (
        'Barriers by climbing-image NEB, for each direction of a path; none where it starts at an end that is no '
        'minimum. An asterisk marks the energy of a highest image that is no saddle point. Fills as in the errors; '
        'white: DFT.'
    ),
    'paths': 'Energy along the paths, relative to their start; each mark is an image of the band.',
    'frame': (
        'The last full frame of the first run of the best potential at its highest temperature, wrapped into the cell.'
    ),
    'coefficients': (
        'Diffusion coefficients, each with its 95 % interval in the same power of ten. D₀ is what they are '
        'compared with: the colours say by how many decades they differ. Lines of a fit are taken at the measured '
        'mean temperature, since runs that were asked for one temperature differ in the one they had.'
    ),
    'msd': (
        'Mean squared displacement of the tracers, one line a replica, with the straight lines that give D. Beyond '
        'the window of the fit few time origins are left, and lines of replicas part by chance.'
    ),
    'windows': (
        'D by least squares up to a lag, against that lag: a D that can be trusted does not depend on it. The band '
        'is one standard error of ln D, from the scatter of the tracers; intervals may reach beyond the figure.'
    ),
    'arrhenius': (
        'Diffusion coefficients at the measured mean temperatures, with 95 % intervals; some may '
        'reach beyond the figure. Lines and bands: weighted fits and their 95 % bands, dotted and paler where they are '
        'extrapolated beyond the temperatures of the fit. Open marks with arrows: no jump was seen, D lies below. '
        'The grey line has the slope of the experiment alone: it is drawn through the '
        'hottest point of the first fit, its height is no measurement.'
    ),
    'rates': (
        'Diffusion coefficients from rates of hops, beside those of MD of the same potential: barriers and '
        'vibrations (classical, as MD is, and with zero-point energies and quantum vibrations, as an experiment '
        'is), and the jumps counted in MD, extrapolated class by class (open marks: beyond the temperatures of the '
        'MD). Bands are 95 % intervals, of barriers from the error of the potential on held-out energies.'
    ),
    'activation_energies': (
        'Activation energies with their 95 % intervals. Open diamonds: published values; dash-dotted: the experiment.'
    ),
    'contents': 'Diffusion coefficients and activation energies against the content of tracers, with 95 % intervals.',
    'track': (
        'The unwrapped path of one tracer against the host, coloured by time, at most the first 100 ps of the run: '
        'of all tracers the one whose mean squared distance from its start is nearest to the median. Spheres: mean '
        'places of the host atoms that it passes.'
    ),
    'rdf': 'Radial distribution functions of the NVE runs; several contents of one potential go from dark to light.',
    'rdf_sites': (
        'Radial distributions by site: host atoms around tracers on octahedral and on tetrahedral sites; pairs of '
        'tracers beside tracers put on the sites at random, which has peaks of its own.'
    ),
    'density': (
        'Density of the tracer in the plane through c that holds octahedral and tetrahedral sites and host atoms, '
        'all runs folded into one hcp unit cell.'
    ),
    'pairs': (
        'How often so many pairs of tracers are closer than the cut-off: measured, of Poisson’s law with the same '
        'mean λ, and of tracers put on the sites at random; a row for each potential and content. Last panel: λ with '
        'its standard error; open marks: on random sites.'
    ),
    'conservation': (
        'Temperature and total energy (about its mean) over the runs without a thermostat, for each potential and '
        'time step at its highest temperature. Dashed: the temperature that was asked for.'
    ),
}
