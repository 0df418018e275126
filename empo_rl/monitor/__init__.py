"""Alarms without labels: what a run can notice about itself before anyone measures its accuracy.

seen     the numbers of one step that alarms watch
alarm    what every alarm is: a number, a limit, a count of steps
alarms   the alarms by name
monitor  all of them over a run
"""

from __future__ import annotations

from empo_rl.monitor.alarm import Action, Alarm, Firing, Reading
from empo_rl.monitor.alarms import ALARMS, load_alarms
from empo_rl.monitor.monitor import Monitor, RunStoppedError
from empo_rl.monitor.seen import Seen

__all__ = ["ALARMS", "Action", "Alarm", "Firing", "Monitor", "Reading", "RunStoppedError", "Seen", "load_alarms"]
