"""Alarms that need no labels: signs of a collapse that a run can notice itself, before anyone measures its accuracy.

observation  the numbers of one step that alarms watch
base         the interface of an alarm: a number, a limit, a count of steps
alarms       the alarms by name
monitor      all alarms over a run
"""

from __future__ import annotations

from empo_rl.monitor.alarms import ALARMS, load_alarms
from empo_rl.monitor.base import Action, Alarm, Firing, Reading
from empo_rl.monitor.monitor import Monitor, RunStoppedError
from empo_rl.monitor.observation import Observation

__all__ = ["ALARMS", "Action", "Alarm", "Firing", "Monitor", "Observation", "Reading", "RunStoppedError", "load_alarms"]
