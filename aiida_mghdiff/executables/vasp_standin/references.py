"""Choice of local reference configurations by a pivoted Cholesky decomposition of the kernel matrix.

The atom with the largest residual (spilling factor) becomes the next reference, until no residual exceeds
the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_triangular

from aiida_mghdiff.executables.vasp_standin.soap import kernel

#: Residual above which an environment is new; the kernel of an environment with itself is 1.
TOLERANCE = 3e-4
#: Residual below which a reference of an ML_AB file repeats earlier references.
REPEATED = 1e-9


@dataclass
class References:
    """Local reference configurations of one element: spectra [m,F] and origins.

    Each of ``origins`` is a configuration and an atom, counted from 0.
    """

    size: int
    origins: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spectra = np.empty((0, self.size))
        self._factor = np.empty((0, 0))

    def __len__(self) -> int:
        return len(self.origins)

    def select(self, spectra: np.ndarray, origins: list[tuple[int, int]], limit: int) -> None:
        """Add new environments, the most different one first, up to ``limit`` references."""
        spanned = self._span(spectra)
        residuals = 1 - (spanned**2).sum(axis=0)
        while len(self) < limit and len(residuals) and residuals.max() > TOLERANCE:
            new = int(residuals.argmax())
            spanned = np.vstack([spanned, self._append(spectra[new], origins[new], spanned[:, new], spectra, spanned)])
            residuals = residuals - spanned[-1] ** 2

    def load(self, spectra: np.ndarray, origin: tuple[int, int]) -> bool:
        """Add one environment [1,F] of an earlier run; return False if it repeats another."""
        spanned = self._span(spectra)
        if 1 - (spanned**2).sum() < REPEATED:
            return False
        self._append(spectra[0], origin, spanned[:, 0], spectra, spanned)
        return True

    def _span(self, spectra: np.ndarray) -> np.ndarray:
        overlap = kernel(self.spectra, spectra)
        return solve_triangular(self._factor, overlap, lower=True) if len(self) else overlap

    def _append(
        self, spectrum: np.ndarray, origin: tuple[int, int], row: np.ndarray, others: np.ndarray, spanned: np.ndarray
    ) -> np.ndarray:
        """Add an environment and return the new row of the decomposition for the others."""
        pivot = np.sqrt(max(1 - row @ row, REPEATED / 10))
        grown = np.zeros((len(self) + 1, len(self) + 1))
        grown[:-1, :-1], grown[-1, :-1], grown[-1, -1] = self._factor, row, pivot
        self._factor, self.spectra = grown, np.vstack([self.spectra, spectrum])
        self.origins.append(origin)
        return (kernel(spectrum[None], others)[0] - row @ spanned) / pivot
