import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS, driven
from support.policy_host import PolicyHost
from support.scripts_here import ScriptsHere, policy

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond.clock import Clock
from vballoond.config.policy import PolicySettings
from vballoond.events.log import EventLog
from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.policy import Plan, Wish
from vballoond.registry import Registry
from vballoond.runner.runner import PolicyRunner

TEXT = (Path(__file__).parents[2] / "config" / "grafana-dashboard.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = DASHBOARD["templating"]["list"]
METRIC = re.compile(r"\b(?:vballoond|process)_\w+")


def policies(registry: Registry) -> PolicyRunner:
    """One policy that acts, and wishes something for each guest."""
    clock = Clock(asyncio.get_running_loop().time)
    wishing = policy("wishing", lambda view: Plan(tuple(Wish(guest.name, 0, "why") for guest in view.guests)))
    return PolicyRunner(
        *(PolicySettings(name="wishing"), registry, Offload(), EventLog("run", clock.now), clock),
        read_host=PolicyHost().read,
        make_scripts=lambda _: ScriptsHere(wishing),
    )


async def exported(aiohttp_client: Any) -> dict[str, set[str]]:
    """The name of each sample that the daemon has of a balloon with statistics and a policy, with its labels."""
    async with driven() as (service, driver):
        registry = Registry()
        registry.add(service)
        runner = policies(registry)
        client = await aiohttp_client(build_app(registry, Offload(), policies=runner))
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        driver.request(STATS, b"".join(STATISTIC.pack(Statistic(tag, 1)) for tag in StatisticTag))
        while service.device.state.statistics is None:
            await service.came_round()
        await client.get("/healthz")
        await runner.round()
        text = await (await client.get("/metrics", headers={"Accept": "text/plain"})).text()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {sample.name: set(sample.labels) for sample in samples}


async def test_every_metric_that_is_drawn_is_there_with_its_labels(aiohttp_client) -> None:
    there = await exported(aiohttp_client)
    assert len(QUERIES) > 20
    for query in [*QUERIES, *(it["definition"] for it in VARIABLES if it["type"] == "query")]:
        names = METRIC.findall(query)
        assert names, query
        for name in names:
            assert name in there, query
            if "$vm" in query:
                assert "vm" in there[name], query
        grouped = re.findall(r"by \(([^)]*)\)", query)
        assert {label.strip() for group in grouped for label in group.split(",")} <= set.union(*map(there.get, names))


@pytest.mark.parametrize(
    "subject",
    [
        *(
            "target",
            "actual",
            "reclaimed",
            "resize_duration",
            "turn",
            "stalls",
            "last_update",
            "errors",
            "api_requests",
        ),
        *("policy_info", "policy_rounds_failed", "round_duration", "policy_orders", "policy_alerts", "set_aside"),
        *("last_round", "wished", "reservations"),
    ],
)
def test_what_is_to_be_watched_is_drawn(subject: str) -> None:
    assert [query for query in QUERIES if subject in query]


def test_whoever_imports_it_chooses_the_data_source() -> None:
    (source,) = [it for it in VARIABLES if it["type"] == "datasource"]
    assert source["query"] == "prometheus"
    chosen = "${" + source["name"] + "}"
    sources = [panel["datasource"] for panel in PANELS]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    sources += [it["datasource"] for it in VARIABLES if "datasource" in it]
    assert {found["uid"] for found in sources} == {chosen}


def test_it_is_of_grafana_10_or_newer_and_has_no_number_of_anyones_database() -> None:
    assert DASHBOARD["schemaVersion"] >= 38
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"]


def test_panels_do_not_overlap_and_have_numbers_titles_and_explanations() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(column, row) for column in columns for row in rows}
        assert not cells & taken, panel["title"]
        assert columns.stop <= 24, panel["title"]
        taken |= cells
        assert panel["description"].endswith("."), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
