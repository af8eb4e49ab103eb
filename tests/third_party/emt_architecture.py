"""Another package registers this to add ASE's effective medium theory as an architecture."""

from aiida_mghdiff.data.architectures import Architecture
from aiida_mghdiff.workflows.engines import Engines

RECORD = Engines(
    Architecture(
        name='emt',
        title='EMT',
        dtypes=('float64',),
        elements=('H', 'C', 'N', 'O', 'Al', 'Ni', 'Cu', 'Pd', 'Ag', 'Pt', 'Au'),
        calculator='emt_calculator',
    )
)
