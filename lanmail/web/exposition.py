"""GET /metrics: what all programs count, for Prometheus and whoever speaks its text format.

For the networks of httpd.metrics_networks, and from anywhere with an API key of the rights `read` or `admin`. No
account, address or mail is named.
"""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

import lanmail
from lanmail.logins import apikeys
from lanmail.monitoring import metrics
from lanmail.monitoring.condition import Condition
from lanmail.web import guard
from lanmail.web.house import House

router = APIRouter()


@router.get("/metrics")
def show(request: Request) -> Response:
    """All metrics, in the format that the reader wishes."""
    house: House = request.app.state.house
    client = request.client.host if request.client else ""
    if not _may(house, request, client):
        return PlainTextResponse("An API key is needed here, or a network of httpd.metrics_networks.\n", 401,
                                 {"WWW-Authenticate": 'Bearer realm="lanmail"'})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(house.observer.now()))
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=None, headers={"Content-Type": kind})


def _may(house: House, request: Request, client: str) -> bool:
    kind, _, word = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found = apikeys.owner(house.paths.conf / "api.toml", word.strip(), client)
        return found is not None and found[1].rights in ("read", "admin")
    forwarded = request.headers.get("x-forwarded-for", client).rpartition(",")[2].strip()
    if forwarded != client:  # through a proxy that nobody named: everybody would be this machine
        return False
    return guard.among(client, house.settings().httpd.metrics_networks)


class _Collector:
    """A condition as metrics."""

    def __init__(self, seen: Condition) -> None:
        self.seen = seen

    def collect(self) -> Iterator[Metric]:
        """Everything."""
        yield from _counters(self.seen)
        yield from _histograms(self.seen)
        yield from _programs(self.seen)
        yield from _mail(self.seen)
        yield from _outside(self.seen)


def _counters(seen: Condition) -> Iterator[Metric]:
    for name, known in metrics.COUNTERS.items():
        family = CounterMetricFamily(f"lanmail_{name}", known.about, labels=("program", *known.labels))
        for (program, key), much in sorted(seen.totals.items()):
            if key[0] == name and len(key) == len(known.labels) + 1:
                family.add_metric((program, *key[1:]), much)
        yield family


def _histograms(seen: Condition) -> Iterator[Metric]:
    for name, about in metrics.HISTOGRAMS.items():
        family = HistogramMetricFamily(f"lanmail_{name}", about, labels=("program",))
        for program in sorted({program for program, key in seen.totals if key[0] == name}):
            buckets, sofar = [], 0.0
            for bound in metrics.BOUNDS:
                sofar += seen.totals.get((program, (name, bound)), 0.0)
                buckets.append((bound if bound == metrics.OVER else repr(float(bound)), sofar))
            family.add_metric((program,), buckets, seen.totals.get((program, (name, metrics.SUM)), 0.0))
        yield family


def _programs(seen: Condition) -> Iterator[Metric]:
    yield InfoMetricFamily("lanmail_build", "The version of lanmail that says this.",
                           {"version": lanmail.__version__})
    there = [one for one in seen.programs if one.state != "off"]
    yield _gauge("up", "1 when the program runs, 0 when it does not or hangs.",
                 {one.name: float(one.state == "running") for one in there})
    living = [one for one in there if one.slots]
    yield _gauge("start_time_seconds", "Since when it runs (Unix time).",
                 {one.name: min(slot.started for slot in one.slots) for one in living})
    yield _gauge("heartbeat_age_seconds", "Time since its last sign of life.",
                 {one.name: max(0.0, seen.at - one.beat) for one in living})
    yield _gauge("processes", "Its processes.", {one.name: float(len(one.slots)) for one in living})
    yield _gauge("connections", "Clients that are connected now.",
                 {one.name: one.gauge("connections") for one in living if "connections" in one.slots[0].gauges})
    yield _gauge("resident_memory_bytes", "Its memory, all processes.",
                 {one.name: one.gauge("resident_bytes") for one in living})
    yield _gauge("cpu_seconds", "CPU time of its processes since they started.",
                 {one.name: one.gauge("cpu_seconds") for one in living})


def _mail(seen: Condition) -> Iterator[Metric]:
    spools = seen.spools.items()
    yield _gauge("spool_entries", "What waits in a spool.", {name: one.entries for name, one in spools}, "spool")
    yield _gauge("spool_bytes", "Its size.", {name: one.octets for name, one in spools}, "spool")
    yield _gauge("spool_oldest_seconds", "How long the oldest waits.", {name: one.oldest for name, one in spools},
                 "spool")
    yield GaugeMetricFamily("lanmail_accounts", "Accounts.", seen.accounts)
    yield GaugeMetricFamily("lanmail_disk_free_bytes", "Free space where mail is kept.", seen.disk_free)
    yield GaugeMetricFamily("lanmail_disk_size_bytes", "The size of that disk.", seen.disk_total)


def _outside(seen: Condition) -> Iterator[Metric]:
    if seen.certificate is not None:
        yield GaugeMetricFamily("lanmail_certificate_end_timestamp_seconds", "When the certificate ends (Unix time).",
                                seen.certificate)
    words = dict.fromkeys(("ok", "failing", "refused"), 0.0)
    for one in seen.mailboxes:
        words[one.health.word] = words.get(one.health.word, 0.0) + 1
    yield _gauge("external_mailboxes", "External mailboxes, by how fetching goes.", words, "state")
    levels = {word: float(sum(one.level == level for one in seen.grants))
              for level, word in enumerate(("ok", "warning", "broken"))}
    yield _gauge("provider_tokens", "OAuth2 log-ins at providers, by how they are.", levels, "state")


def _gauge(name: str, about: str, values: dict[str, float] | dict[str, int], label: str = "program") -> Metric:
    family = GaugeMetricFamily(f"lanmail_{name}", about, labels=(label,))
    for word, value in values.items():
        family.add_metric((word,), value)
    return family
