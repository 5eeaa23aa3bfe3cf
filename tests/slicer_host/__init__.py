"""A stand-in for what 3D Slicer's application adds on top of the slicer-core wheel.

FOR TESTS ONLY. Nothing in the library or in the extension may import it.

Real: the MRML scene, nodes, module logics, storage and `slicer.util` (slicer-core), VTK,
and Qt's own widgets (PySide6, offscreen). Stood in for, one file each: PythonQt's way of
using Qt (`pythonqt`, `qt_module`, `ui_loader`), CTK and qMRML widgets, `slicer.app`,
`slicer.modules`, scripted modules, the parameter node wrapper, file readers, and pip.

Rule: offer only what Slicer offers, under its names, and let everything else raise
AttributeError. A test must not pass here with a name that fails in Slicer.

Known differences: there is no Python console, no module but the ones named in
`modules.py`, and nothing is drawn except what a test renders itself.
"""
