"""The trajectory of the tracers of a molecular-dynamics run."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.orm.pydantic import OrmMetadataField

from aiida_mghdiff.data.arrays import require_finite, set_array
from aiida_mghdiff.science.units import FS_IN_PS


class TracerTrajectoryData(orm.ArrayData):
    """Unwrapped positions of the tracers and of the centre of the host, in float32.

    Arrays: ``tracer_positions`` [f,n,3] in Å, ``host_centre`` [f,3] in Å (mass-weighted), and ``cell`` [3,3] in Å, or
    ``cells`` [f,3,3] if the cell changes. Frame i belongs to step ``first_step + i * stride``; times are computed from
    this, since a float32 time axis jitters by 1 % at 1 ns.
    """

    class AttributesModel(orm.ArrayData.AttributesModel):
        """Attributes of a tracer trajectory that queries can use."""

        first_step: int = OrmMetadataField(description='step of the first frame')
        stride: int = OrmMetadataField(description='steps between frames')
        time_step_fs: float = OrmMetadataField(description='time step in fs')
        tracer_element: str = OrmMetadataField(description='symbol of the tracers')
        host_elements: list[str] = OrmMetadataField(description='symbols of the other atoms')
        ensemble: str = OrmMetadataField(description='nve, nvt or npt')
        mean_temperature_k: float = OrmMetadataField(description='mean temperature of the run in K')
        n_frames: int = OrmMetadataField(description='number of frames')
        tracer_count: int = OrmMetadataField(description='number of tracers')

    @classmethod
    def from_arrays(
        cls,
        tracer_positions: np.ndarray,
        host_centre: np.ndarray,
        *,
        cell: np.ndarray | None = None,
        cells: np.ndarray | None = None,
        first_step: int,
        stride: int,
        time_step_fs: float,
        tracer_element: str,
        host_elements: list[str],
        ensemble: str,
        mean_temperature_k: float,
    ) -> TracerTrajectoryData:
        """Return an unstored trajectory; give either ``cell`` or ``cells``.

        :raises ValueError: for wrong shapes, numbers that are not finite, or a stride or time step not above zero.
        """
        if (cell is None) == (cells is None):
            raise ValueError('a tracer trajectory has either one cell or the cells of all frames.')
        if stride < 1 or not time_step_fs > 0:
            raise ValueError(f'stride {stride} and time step {time_step_fs} fs of a trajectory must be positive.')
        frames, tracers = np.shape(tracer_positions)[:2]
        require_finite(tracer_positions=np.asarray(tracer_positions), host_centre=np.asarray(host_centre))
        node = cls()
        set_array(node, 'tracer_positions', tracer_positions, 'f4', (None, None, 3))
        set_array(node, 'host_centre', host_centre, 'f4', (frames, 3))
        if cell is not None:
            set_array(node, 'cell', cell, 'f4', (3, 3))
        if cells is not None:
            set_array(node, 'cells', cells, 'f4', (frames, 3, 3))
        node.base.attributes.set_many(
            {
                'first_step': int(first_step),
                'stride': int(stride),
                'time_step_fs': float(time_step_fs),
                'tracer_element': tracer_element,
                'host_elements': sorted(host_elements),
                'ensemble': ensemble,
                'mean_temperature_k': float(mean_temperature_k),
                'n_frames': int(frames),
                'tracer_count': int(tracers),
            }
        )
        return node

    @property
    def steps(self) -> np.ndarray:
        """Return the step of each frame [f]."""
        attributes = self.base.attributes
        return attributes.get('first_step') + attributes.get('stride') * np.arange(attributes.get('n_frames'))

    @property
    def times_ps(self) -> np.ndarray:
        """Return the time of each frame [f] in ps."""
        return self.steps * self.base.attributes.get('time_step_fs') * FS_IN_PS
