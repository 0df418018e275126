"""Alarms that need no labels: a run can detect itself that it cannot learn, or that it collapses.

observation      Observation: the numbers of a step that the alarms watch
base             Alarm, the interface of an alarm, with Reading and Firing
alarms           the built-in alarms for signs of a collapse
learning_alarms  the built-in alarms for a run that cannot learn
monitor          Monitor: runs all alarms at each step of a run
"""

from __future__ import annotations

from empo_rl.monitor.base import Action, Alarm, Firing, Reading
from empo_rl.monitor.monitor import ALARMS, Monitor, RunStoppedError, load_alarms
from empo_rl.monitor.observation import Example, Observation, Update

__all__ = [
    "ALARMS",
    "Action",
    "Alarm",
    "Example",
    "Firing",
    "Monitor",
    "Observation",
    "Reading",
    "RunStoppedError",
    "Update",
    "load_alarms",
]
