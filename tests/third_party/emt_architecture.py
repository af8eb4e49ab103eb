"""Another package registers this to add ASE's effective medium theory as an architecture."""

from aiida_mghdiff import Architecture, Engines

RECORD = Engines(
    Architecture(
        name='emt',
        title='EMT',
        dtypes=('float64',),
        elements=('H', 'C', 'N', 'O', 'Al', 'Ni', 'Cu', 'Pd', 'Ag', 'Pt', 'Au'),
        calculator='emt_calculator',
    )
)
