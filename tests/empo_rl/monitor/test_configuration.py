"""The `monitor` section of a run's configuration."""

import pytest

from empo_rl.config.load import load_config
from empo_rl.monitor import ALARMS
from semantic_entropy import InputError


def test_every_alarm_warns_unless_the_configuration_says_otherwise():
    plain = load_config("tiny").monitor.make_monitor()
    assert [alarm.name for alarm in plain.alarms] == list(ALARMS)
    assert plain.action == "warn"
    assert load_config("tiny", ["monitor.action=stop"]).monitor.make_monitor().action == "stop"


def test_an_option_reaches_its_alarm():
    config = load_config("tiny", ["monitor.alarms.concentration.share=0.3", "monitor.alarms.variety=null"])
    made = config.monitor.make_monitor()
    by_name = {alarm.name: alarm for alarm in made.alarms}
    assert by_name["concentration"].share == 0.3
    assert "variety" not in by_name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "monitor.alarms.varieties.share=1",
            "command line: monitor: alarm 'varieties' does not exist. Choose of: entropy",
        ),
        (
            "monitor.alarms.variety.sharp=1",
            "command line: monitor: alarm variety refuses {'sharp': 1}: its options are share",
        ),
        ("monitor.alarm.variety.share=1", "monitor.alarm is not a key. Did you mean 'monitor.alarms'"),
        ("monitor.action=halt", "command line: monitor.action: Input should be 'warn' or 'stop'"),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(override, message):
    with pytest.raises(InputError) as caught:
        load_config("tiny", [override])
    assert message in str(caught.value)
