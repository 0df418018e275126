"""The `monitor` section of a run's configuration."""

import pytest

from empo_rl.config.load import load_config
from empo_rl.monitor import ALARMS
from semantic_entropy import InputError


def test_every_alarm_warns_unless_the_configuration_says_otherwise():
    default = load_config("tiny").monitor.make_monitor()
    assert [alarm.name for alarm in default.alarms] == list(ALARMS)
    assert default.action == "warn"
    assert load_config("tiny", ["monitor.action=stop"]).monitor.make_monitor().action == "stop"


def test_an_option_reaches_its_alarm():
    config = load_config("tiny", ["monitor.alarms.concentration.share=0.3", "monitor.alarms.variety=null"])
    monitor = config.monitor.make_monitor()
    by_name = {alarm.name: alarm for alarm in monitor.alarms}
    assert by_name["concentration"].share == 0.3
    assert "variety" not in by_name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "monitor.alarms.varieties.share=1",
            "command line: monitor: no alarm named 'varieties'. Did you mean 'variety'?",
        ),
        (
            "monitor.alarms.variety.sharp=1",
            "command line: monitor: alarm 'variety' has no option 'sharp'. Did you mean 'share'?",
        ),
        ("monitor.alarm.variety.share=1", "monitor.alarm is not a key. Did you mean 'monitor.alarms'"),
        ("monitor.action=halt", "command line: monitor.action='halt': expected one of warn, stop."),
    ],
)
def test_an_unknown_alarm_key_or_action_is_refused_with_the_known_ones(override, message):
    with pytest.raises(InputError) as caught:
        load_config("tiny", [override])
    assert message in str(caught.value)
