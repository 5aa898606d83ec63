"""Pictures, tables and the one-file report of a run folder, from stored results only.

Names are loaded on first use: the table needs neither plotly nor matplotlib.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gramdyn.report.figures import save_overview
    from gramdyn.report.page import write_report
    from gramdyn.report.table import summary_rows

_HOME_OF = {
    "save_overview": "gramdyn.report.figures",
    "summary_rows": "gramdyn.report.table",
    "write_report": "gramdyn.report.page",
}

__all__ = ["save_overview", "summary_rows", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'gramdyn.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
