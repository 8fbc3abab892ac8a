import pytest

RESERVATIONS = "/v1/reservations"
MIB = 1 << 20


async def reserve(api, body, *, wait=None):
    headers = {} if wait is None else {"Prefer": f"wait={wait}"}
    answer = await api.ask("POST", RESERVATIONS, json=body, headers=headers)
    assert answer.status == 201, answer.body
    assert answer.headers["Location"] == f"{RESERVATIONS}/{answer.json()['id']}"
    return answer.json()


async def test_what_is_free_already_is_ready_at_once(api) -> None:
    made = await reserve(api, {"bytes": MIB, "purpose": "vm7"})
    assert (made["id"], made["state"], made["gathered_bytes"], made["purpose"]) == (1, "ready", MIB, "vm7")
    assert await api.get(f"{RESERVATIONS}/1") == made
    assert (await api.get(RESERVATIONS))["reservations"] == [made]


async def test_what_cannot_be_had_at_once_gathers_and_whoever_waits_is_told_why(api) -> None:
    host = (await api.get("/v1/policy/view"))["host"]
    nearly_all = host["total_bytes"] - host["reserve_bytes"]
    made = await reserve(api, {"bytes": nearly_all, "within_s": 3600.0}, wait=0)
    assert made["state"] == "gathering"
    assert "is there" in made["reason"]
    assert made["by"] > made["asked_at"]


async def test_a_ready_one_is_claimed_once(api) -> None:
    await reserve(api, {"bytes": MIB})
    answer = await api.ask("POST", f"{RESERVATIONS}/1/claim", json={"balloon": "demo"})
    assert (answer.json()["state"], answer.json()["claimed_by"]) == ("claimed", "demo")
    await api.refused("POST", f"{RESERVATIONS}/1/claim", 409, "not-ready")


async def test_whoever_claims_for_a_balloon_that_is_not_there_is_told(api) -> None:
    await reserve(api, {"bytes": MIB})
    await api.refused("POST", f"{RESERVATIONS}/1/claim", 404, "no-such-balloon", json={"balloon": "nobody"})
    assert (await api.get(f"{RESERVATIONS}/1"))["state"] == "ready"


async def test_one_that_is_not_needed_is_let_go_and_that_twice_is_harmless(api) -> None:
    await reserve(api, {"bytes": MIB})
    for _ in range(2):
        assert (await api.ask("DELETE", f"{RESERVATIONS}/1")).status == 204
    gone = await api.get(f"{RESERVATIONS}/1")
    assert (gone["state"], gone["reason"]) == ("expired", "it was cancelled")


@pytest.mark.parametrize("number", ["2", "0", "x", "9" * 30, "²"])
async def test_one_that_is_not_there_is_said_to_be_so(api, number: str) -> None:
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/claim")):
        await api.refused(method, f"{RESERVATIONS}/{number}{rest}", 404, "no-such-reservation")


@pytest.mark.parametrize("purpose", ["vm7\n8", "\x1b[31mvm7", "\x9b31m", "a\u202eb", "tab\t"])
async def test_a_purpose_that_could_not_be_printed_as_it_is_is_refused(api, purpose: str) -> None:
    body = {"bytes": MIB, "purpose": purpose}
    problem = await api.refused("POST", RESERVATIONS, 422, "invalid-purpose", json=body)
    assert problem["detail"] == f"purpose is {purpose!r}, not one line that can be read"
    assert (await api.get(RESERVATIONS))["reservations"] == []


async def test_a_purpose_is_a_line_in_any_language(api) -> None:
    made = await reserve(api, {"bytes": MIB, "purpose": "für vm7, 第七 🎈"})
    assert made["purpose"] == "für vm7, 第七 🎈"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"bytes": "2GiB"}, 400),
        ({"bytes": MIB, "within": 3}, 400),
        ({"bytes": MIB, "purpose": "x" * 201}, 400),
        ({"bytes": MIB, "purpose": "\ud800"}, 400),
        ({"bytes": 0}, 422),
        ({"bytes": -1}, 422),
        ({"bytes": 1 << 80}, 422),
        ({"bytes": MIB, "within_s": -1.0}, 422),
        ({"bytes": MIB, "within_s": 1e9}, 422),
        ({"bytes": MIB, "keep_s": 0.0}, 422),
    ],
)
async def test_what_means_nothing_is_refused(api, body, status: int) -> None:
    await api.refused("POST", RESERVATIONS, status, "invalid-body" if status == 400 else "out-of-range", json=body)
    assert (await api.get(RESERVATIONS))["reservations"] == []
