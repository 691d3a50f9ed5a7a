"""Everything that needs 3D Slicer: nodes, views, panel and logic, each module imported where it is needed."""
