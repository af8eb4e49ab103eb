"""Keys of attributes and results that had another name in earlier versions.

Every reader of such a key uses :func:`stored_value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_mghdiff.science.units import GPA_IN_KBAR

#: By present name: the former name of a key, and a factor from its former to its present unit, if the unit changed.
FORMER_KEYS = {
    'labelled_by': ('labels', None),
    'tracer_count': ('n_tracers', None),
    'training_rmse_stress_gpa': ('training_rmse_stress_kbar', 1 / GPA_IN_KBAR),
}


def stored_value(source: orm.Node | Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return an attribute of a node (or an item of a ``Dict`` or mapping) by its present or former name."""
    values = source.base.attributes.all if isinstance(source, orm.Node) else source
    if key in values or key not in FORMER_KEYS:
        return values.get(key, default)
    former, factor = FORMER_KEYS[key]
    value = values.get(former, default)
    return value if factor is None or value is None else factor * value
