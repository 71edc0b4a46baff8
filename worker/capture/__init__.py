"""Capture: one small process per task owns its pipes and writes what comes to the spool."""
