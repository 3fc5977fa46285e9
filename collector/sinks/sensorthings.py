"""OGC SensorThings API 1.1: FROST-Server, istSOS and others.

A node is a Thing with a Location, a channel a Datastream with its Sensor and ObservedProperty; all
are found again by name before they are created. Readings go by CreateObservations, whose answer is
checked row by row. The standard knows no duplicate, so an unknown outcome is read back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from collector.readings.observation import Channel, Observation, PublicNode, quality_name
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    HttpClient,
    HttpSettings,
    basic_auth,
    bearer,
    check_url,
    common_error,
)
from collector.sinks._sensorthings_entities import Entities, entity_path, pages
from collector.sinks._values import iso_ms, parse_iso_ms
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    IdStore,
    NoAnswer,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkConfig,
    SinkError,
    held,
)
from collector.structure import KeyFault, Length, Range

PAGE = 1000
NO_PLACE_RETRY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "sensorthings": the service root and who we are there."""

    url: Annotated[str, Length(8, 500)]
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    batch: Annotated[int, Range(1, 10_000)] = 1000
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)
        if (self.user is None) != (self.password is None):
            raise KeyFault("user", "user and password go together")
        if self.user is not None and self.token is not None:
            raise KeyFault("token", "give user and password, or a token")


class SensorThings(Sink):
    """One service root."""

    def __init__(self, name: str, config: Config, ids: IdStore) -> None:
        self.name = name
        self.capabilities = Capabilities(reads_back=True, largest_batch=config.batch)
        self._http = HttpClient(config.url, config.http, _credentials(config))
        self._entities = Entities(self._http, ids)

    def upstream_name(self, channel: Channel) -> str | None:
        return f"Datastream {self._entities.datastream_name(channel)}"

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        answer = await self._http.request("GET", "/Things", query={"$top": "1"})
        if answer.status != 200:
            raise common_error(answer)

    async def provision(self, channels: Sequence[Channel]) -> None:
        await self._entities.provision(channels)

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        return self._entities.plan(channels)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        try:
            await self._entities.confirm()
            outcomes = await self._send(batch)
        except SinkError:
            self._entities.doubt()
            raise
        self._entities.heard()
        return outcomes

    async def _send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        await self._entities.provision(dict.fromkeys(o.channel for o in batch))
        placed = [o for o in batch if self._entities.can_be_placed(o)]
        if not placed:
            return [Retry("no place: the node has no site", NO_PLACE_RETRY_S)] * len(batch)
        await self._entities.provide_features(placed)
        order = sorted(range(len(placed)), key=lambda i: id(placed[i].channel))
        rows = [placed[i] for i in order]
        outcomes = dict(zip(map(id, rows), await self._create(rows), strict=True))
        no_place = Retry("no place: the node has no site", NO_PLACE_RETRY_S)
        return [outcomes.get(id(o), no_place) for o in batch]

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        await self._entities.confirm()
        await self._entities.provision(dict.fromkeys(o.channel for o in batch))
        return await held(batch, self._times, lambda o: (o.time_ms - o.interval_ms, o.time_ms))

    async def close(self) -> None:
        await self._http.close()

    async def _create(self, rows: Sequence[Observation]) -> Sequence[Outcome]:
        """Posts rows that lie together by channel; an outcome for each."""
        flagged = any(o.quality for o in rows)
        featured = any(self._entities.feature_of(o) for o in rows)
        document = [
            self._data_array(channel, part, flagged, featured)
            for channel, part in _runs(rows, by_feature=featured)
        ]
        answer = await self._http.request("POST", "/CreateObservations", document=document)
        if answer.status != 201:
            raise common_error(answer)
        answers = answer.json()
        if not isinstance(answers, list) or len(answers) != len(rows):
            raise NoAnswer("CreateObservations answered for another number of rows")
        failed = [i for i, said in enumerate(answers) if _is_error(said)]
        outcomes: list[Outcome] = [ACCEPTED] * len(rows)
        if failed:
            await self._judge(rows, answers, failed, outcomes)
        return outcomes

    async def _judge(
        self,
        rows: Sequence[Observation],
        answers: Sequence[Any],
        failed: Sequence[int],
        outcomes: list[Outcome],
    ) -> None:
        """Tells rows that are there already, and those of a lost Datastream, from bad ones."""
        gone = await self._entities.forget_missing(
            {rows[i].channel for i in failed}, {o.channel for o in rows}
        )
        asked = [i for i in failed if rows[i].channel not in gone]
        held = await self.read_back([rows[i] for i in asked]) if asked else ()
        there = dict(zip(asked, held or (), strict=True))
        for i, observation in enumerate(rows):
            if observation.channel in gone:
                outcomes[i] = Retry("the Datastream is gone")
        for i in asked:
            if not there[i]:
                said = str(answers[i]).removeprefix("error").strip() or "without a reason"
                outcomes[i] = Rejected(f"row refused: {said[:120]}")

    def _data_array(
        self, channel: Channel, rows: Sequence[Observation], flagged: bool, featured: bool
    ) -> dict[str, Any]:
        components = ["phenomenonTime", "resultTime", "result"]
        data: list[list[Any]] = [[phenomenon_time(o), iso_ms(o.time_ms), o.value] for o in rows]
        if flagged:
            components.append("resultQuality")
            for row, observation in zip(data, rows, strict=True):
                row.append(quality_name(observation.quality))
        feature = self._entities.feature_of(rows[0]) if featured else None
        if feature is not None:
            components.append("FeatureOfInterest/id")
            for row in data:
                row.append(feature)
        return {
            "Datastream": {"@iot.id": self._entities.datastream_id(channel)},
            "components": components,
            "dataArray": data,
        }

    async def _times(
        self, channel: Channel, readings: Sequence[Observation]
    ) -> set[tuple[int, int]]:
        """Start and end, in ms, of what the Datastream holds around these readings."""
        first = min(o.time_ms - o.interval_ms for o in readings)
        last = max(o.time_ms for o in readings)
        span = max(o.interval_ms for o in readings) + 1000
        path = f"{entity_path('Datastreams', self._entities.datastream_id(channel))}/Observations"
        bounds = f"phenomenonTime ge {iso_ms(first - span)} and " + (
            f"phenomenonTime le {iso_ms(last + span)}"
        )
        query = {
            "$select": "phenomenonTime",
            "$filter": bounds,
            "$orderby": "phenomenonTime asc",
            "$top": str(PAGE),
        }
        found: set[tuple[int, int]] = set()
        async for row in pages(self._http, path, query):
            found.add(interval_of(str(row.get("phenomenonTime", ""))))
        return found


def _is_error(said: Any) -> bool:
    """Whether a row was refused; NoAnswer unless it is that or an Observation's address."""
    text = said if isinstance(said, str) else ""
    if text.startswith("error"):
        return True
    if "Observations(" not in text:
        raise NoAnswer("CreateObservations answered something else than addresses")
    return False


def phenomenon_time(observation: Observation) -> str:
    """An instant, or the interval that a level stands for."""
    end = iso_ms(observation.time_ms)
    if not observation.interval_ms:
        return end
    return f"{iso_ms(observation.time_ms - observation.interval_ms)}/{end}"


def interval_of(text: str) -> tuple[int, int]:
    """Start and end in ms of a phenomenonTime; (-1, -1) for what is none."""
    try:
        start, _, end = text.partition("/")
        return parse_iso_ms(start), parse_iso_ms(end or start)
    except ValueError:
        return -1, -1


def _runs(
    rows: Sequence[Observation], by_feature: bool
) -> Iterable[tuple[Channel, list[Observation]]]:
    """Neighbours of one channel, and of one place where places differ, together."""
    run: list[Observation] = []
    for observation in rows:
        if run and (
            observation.channel is not run[0].channel
            or (by_feature and observation.place != run[0].place)
        ):
            yield run[0].channel, run
            run = []
        run.append(observation)
    if run:
        yield run[0].channel, run


def _credentials(config: Config) -> dict[str, str]:
    if config.token is not None:
        return bearer(config.token)
    if config.user is not None and config.password is not None:
        return basic_auth(config.user, config.password)
    return {}


def build(config: Config, name: str, ids: IdStore) -> SensorThings:
    """The sink of a configuration."""
    return SensorThings(name, config, ids)
