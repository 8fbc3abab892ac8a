import pytest
from support.simulation import SMALL

from vballoond.errors import OperatorError
from vballoond.lab.simulation.chosen_policy import ChosenPolicy
from vballoond.lab.simulation.sweep.grid import check_scheduler, doubts, jobs_of, parse_seeds, parse_values
from vballoond.lab.simulation.sweep.job import Job

pytestmark = pytest.mark.long


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def test_each_policy_with_each_value_on_each_scenario_with_each_seed(small) -> None:
    values = parse_values(["samples=1,2", "pressure_threshold=0.2,0.3"])
    jobs = jobs_of(["watermark"], [small, "steady"], [1, 2], values)
    assert len(jobs) == len({job.key for job in jobs}) == 16
    assert str(jobs[0]) == "small, watermark:pressure_threshold=0.2,samples=1, seed 1"
    assert [job.scenario for job in jobs[::8]] == ["small", "steady"]


def test_a_run_is_known_by_its_content(small, tmp_path) -> None:
    (job,) = jobs_of(["static"], [small], [1], {})
    (again,) = jobs_of(["static"], [small], [1], {})
    assert job.key == again.key
    (tmp_path / "small.toml").write_text(SMALL.replace("0.5", "0.6"))
    (edited,) = jobs_of(["static"], [small], [1], {})
    (other,) = jobs_of(["static"], [small], [2], {})
    assert len({job.key, edited.key, other.key}) == 3


@pytest.mark.parametrize(("text", "seeds"), [("3", [3]), ("1-4", [1, 2, 3, 4]), ("7,1-2, 2", [1, 2, 7])])
def test_seeds_are_numbers_and_ranges(text, seeds) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-1", "1-", "-1", "1-99999999", "1..3"])
def test_what_is_no_list_of_seeds_is_refused(text) -> None:
    with pytest.raises(OperatorError, match="write such as 1-20"):
        parse_seeds(text)


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a="], ["a=1", "a=2"]])
def test_what_is_no_list_of_values_is_refused(texts) -> None:
    with pytest.raises(OperatorError, match="write key=a,b,c"):
        parse_values(texts)


def test_a_value_that_a_policy_does_not_take_is_refused_before_anything_runs(small) -> None:
    with pytest.raises(OperatorError, match="samples"):
        jobs_of(["static", "watermark"], [small], [1], parse_values(["samples=1"]))


def test_there_are_not_more_runs_than_can_be_kept_track_of(small) -> None:
    with pytest.raises(OperatorError, match="200000 runs are asked for; 100000 are the most"):
        jobs_of([f"watermark:samples={n}" for n in range(1, 21)], [small], range(10_000), {})


def test_what_is_asked_for_twice_is_made_once(small) -> None:
    assert len(jobs_of(["static", "static:", "static"], [small, small], [1, 1], {})) == 1


def test_settings_of_the_scenario_are_checked_before_anything_runs(small, tmp_path) -> None:
    (tmp_path / "small.toml").write_text(SMALL + "[settings.watermark]\nsample = 1\n")
    assert len(jobs_of(["static"], [small], [1], {})) == 1
    with pytest.raises(OperatorError, match="policy 'watermark': sample: Extra inputs"):
        jobs_of(["static", "watermark"], [small], [1], {})


@pytest.mark.parametrize("address", ["tcp://host:8786", "tls://10.0.0.1:1", "tcp://[::1]:65535"])
def test_an_address_of_a_scheduler_is_taken(address) -> None:
    check_scheduler(address)


@pytest.mark.parametrize("address", ["", "host:8786", "tcp://host", "tcp://[::1", "http://host:1", "tcp://host:65536"])
def test_what_dask_would_hang_at_is_refused(address) -> None:
    with pytest.raises(OperatorError, match="write tcp://HOST:PORT"):
        check_scheduler(address)


def test_settings_for_a_name_with_a_slip_in_it_are_told_and_are_no_error(small, tmp_path) -> None:
    settings = "[settings.watermrk]\nsamples = 1\n[settings.mine]\nx = 1\n[settings.psi]\n"
    (tmp_path / "small.toml").write_text(SMALL + settings)
    assert doubts(jobs_of(["static", "watermark"], [small], [1, 2], {})) == [
        "scenario small: it has settings of 'watermrk', which is not tried, and may be meant for 'watermark'"
    ]


def test_settings_of_a_policy_that_is_tried_are_no_slip() -> None:
    text = SMALL + "[settings.watermark2]\nsamples = 1\n"
    own = ChosenPolicy("watermark2", file="mine.py", source="")
    assert doubts([Job("small", text, own, 1)]) == []
    assert len(doubts([Job("small", text, ChosenPolicy("static"), 1)])) == 1
