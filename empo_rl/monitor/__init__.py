"""Alarms that need no labels: a run can detect signs of a collapse itself, before its accuracy is measured.

observation  Observation: the numbers of a step that the alarms watch
base         Alarm, the interface of an alarm, with Reading and Firing
alarms       the built-in alarms
monitor      Monitor: runs all alarms at each step of a run
"""

from __future__ import annotations

from empo_rl.monitor.alarms import ALARMS, load_alarms
from empo_rl.monitor.base import Action, Alarm, Firing, Reading
from empo_rl.monitor.monitor import Monitor, RunStoppedError
from empo_rl.monitor.observation import Observation

__all__ = ["ALARMS", "Action", "Alarm", "Firing", "Monitor", "Observation", "Reading", "RunStoppedError", "load_alarms"]
