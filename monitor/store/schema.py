"""The tables of the store: numbered migrations, append-only. What once was released is never edited.

Conventions: an instant is an INTEGER, microseconds since 1970 UTC; a day is an INTEGER, days since 1970; money is TEXT,
canonical and exact (`alarms.money.plain`), and SQL never adds it; a truth value is 0 or 1; unknown is NULL. The last
column of every table is `checksum(table, *all other columns)` of `monitor.store.checksum`.

What `status` may read with nothing but sqlite3:
    facts(id = 1, document TEXT, checksum)
    turn(id = 1, at, checksum)
    outbox(seq, id, receiver, kind, state DUE|SENDING|SENT|DEAD|REPLACED, created_at, next_attempt_at, attempts,
           possible_repeat, instead_of, sent_at, remote_id, refused, error, payload, alarm, owed_since, digest,
           checksum)
    receiver(name, state OK|DEAD, since, error, last_delivery, checksum)
A message is undelivered while its state is DUE or SENDING. `owed_since`, or `created_at` where that is NULL, is since
when its receiver waits for word of this alarm: a message that took the place of an unsent one has waited for as long.
"""

from __future__ import annotations

# "cbm1": says whose file this is (PRAGMA application_id).
APPLICATION_ID = 0x63626D31

_FIRST = (
    # What charges belong to. A series gets its number once; a lost row shows as a day total that belongs to nothing.
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, currency TEXT NOT NULL, account TEXT NOT NULL,
        service TEXT NOT NULL, region TEXT NOT NULL, run TEXT NOT NULL, tags TEXT NOT NULL,
        charge_category TEXT NOT NULL, billing_period TEXT NOT NULL, checksum INTEGER NOT NULL,
        UNIQUE (source, currency, account, service, region, run, tags, charge_category, billing_period)
    ) STRICT""",
    # Append-only. The highest revision counts; `withdrawn`: the source no longer lists this charge.
    """CREATE TABLE charge (
        series_id INTEGER NOT NULL REFERENCES series (id), start_at INTEGER NOT NULL, end_at INTEGER NOT NULL,
        revision INTEGER NOT NULL, billed_cost TEXT NOT NULL, withdrawn INTEGER NOT NULL, observed_at INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (series_id, start_at, end_at, revision)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TRIGGER charge_kept BEFORE UPDATE ON charge BEGIN SELECT RAISE(ABORT, 'charges are append-only'); END",
    "CREATE TRIGGER charge_stays BEFORE DELETE ON charge BEGIN SELECT RAISE(ABORT, 'charges are append-only'); END",
    # Sum of the charges of a series that start on a UTC day, kept in the transaction that changes them.
    """CREATE TABLE day_total (
        day INTEGER NOT NULL, series_id INTEGER NOT NULL REFERENCES series (id), billed_cost TEXT NOT NULL,
        until INTEGER NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (day, series_id)
    ) STRICT, WITHOUT ROWID""",
    # How many day totals a day has, and their `digest` (monitor.store.checksum): a row that got lost is noticed.
    """CREATE TABLE day_tally (
        day INTEGER PRIMARY KEY, count INTEGER NOT NULL, digest INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    # The same by UTC month, `month` the number of its first day, so that a month is not summed at each turn; `days`:
    # how many days of it have a total.
    """CREATE TABLE month_total (
        month INTEGER NOT NULL, series_id INTEGER NOT NULL REFERENCES series (id), billed_cost TEXT NOT NULL,
        days INTEGER NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (month, series_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE month_tally (
        month INTEGER PRIMARY KEY, count INTEGER NOT NULL, digest INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE meter (
        source TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, value TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE source_clock (
        name TEXT PRIMARY KEY, first_attempt INTEGER, last_attempt INTEGER, last_poll INTEGER, data_as_of INTEGER,
        failures INTEGER NOT NULL, next_attempt_at INTEGER, access INTEGER NOT NULL, missing TEXT NOT NULL, error TEXT,
        filled_since INTEGER, unreachable INTEGER NOT NULL, kept_since INTEGER, kept_until INTEGER,
        type TEXT, checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE api_use (
        source TEXT NOT NULL, month TEXT NOT NULL, calls INTEGER NOT NULL, cost_usd TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (source, month)
    ) STRICT, WITHOUT ROWID""",
    # `period_start` -1: no period (a fault of the daemon itself).
    """CREATE TABLE alarm (
        subject TEXT NOT NULL, period_start INTEGER NOT NULL, "on" TEXT NOT NULL, at TEXT NOT NULL,
        severity TEXT NOT NULL, status TEXT NOT NULL, data TEXT NOT NULL, since INTEGER, episode TEXT NOT NULL,
        sequence INTEGER NOT NULL, first_detected INTEGER, last_told INTEGER, told_spend TEXT, period_end INTEGER,
        calm_since INTEGER, checksum INTEGER NOT NULL,
        PRIMARY KEY (subject, period_start, "on", at, severity)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX alarm_open ON alarm (subject, period_start) WHERE status <> 'CLOSED'",
    """CREATE TABLE transition (
        id INTEGER PRIMARY KEY, subject TEXT NOT NULL, period_start INTEGER NOT NULL, "on" TEXT NOT NULL,
        at TEXT NOT NULL, severity TEXT NOT NULL, from_status TEXT NOT NULL, to_status TEXT NOT NULL,
        reason TEXT NOT NULL, happened_at INTEGER NOT NULL, episode TEXT NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    """CREATE TRIGGER transition_kept BEFORE UPDATE ON transition
        BEGIN SELECT RAISE(ABORT, 'transitions are append-only'); END""",
    """CREATE TRIGGER transition_stays BEFORE DELETE ON transition
        BEGIN SELECT RAISE(ABORT, 'transitions are append-only'); END""",
    # `seq` is the order in which messages came. `kind` is what a message was made as; what its receiver is told, which
    # may have missed the ones before, is in the payload. `digest`: in which digest it went out and may have arrived.
    """CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, receiver TEXT NOT NULL, kind TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('DUE', 'SENDING', 'SENT', 'DEAD', 'REPLACED')),
        created_at INTEGER NOT NULL, next_attempt_at INTEGER NOT NULL, attempts INTEGER NOT NULL,
        possible_repeat INTEGER NOT NULL, instead_of TEXT NOT NULL, sent_at INTEGER, remote_id TEXT NOT NULL,
        refused TEXT NOT NULL, error TEXT, payload TEXT NOT NULL,
        alarm TEXT NOT NULL DEFAULT '', owed_since INTEGER, digest TEXT NOT NULL DEFAULT '', checksum INTEGER NOT NULL,
        UNIQUE (id, receiver)
    ) STRICT""",
    "CREATE INDEX outbox_owed ON outbox (receiver, alarm) WHERE state IN ('DUE', 'SENDING')",
    """CREATE INDEX outbox_unheard ON outbox (coalesce(owed_since, created_at))
        WHERE state IN ('DUE', 'SENDING', 'DEAD')""",
    """CREATE TABLE receiver (
        name TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('OK', 'DEAD')), since INTEGER NOT NULL, error TEXT,
        last_delivery INTEGER, checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # `until` NULL: an ack, which is for one episode; "" for a silence.
    """CREATE TABLE silence (
        budget TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('silence', 'ack')), episode TEXT NOT NULL,
        since INTEGER NOT NULL, until INTEGER, by TEXT NOT NULL, why TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (budget, kind, episode)
    ) STRICT, WITHOUT ROWID""",
    # How far a training run said that it is: `step` of `steps`.
    """CREATE TABLE progress (
        run TEXT NOT NULL, at INTEGER NOT NULL, step INTEGER NOT NULL, steps INTEGER NOT NULL, by TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (run, at)
    ) STRICT, WITHOUT ROWID""",
    # How the twins of a budget stand in one account of a cloud, and how the last drill went. `place` "": not known.
    """CREATE TABLE native (
        budget TEXT NOT NULL, cloud TEXT NOT NULL, place TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL,
        since INTEGER NOT NULL, first_seen INTEGER NOT NULL, checked_at INTEGER, managed INTEGER NOT NULL,
        drilled_at INTEGER, drill_ok INTEGER, drill_detail TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (budget, cloud, place)
    ) STRICT, WITHOUT ROWID""",
    # The last slot of a receiver's digest that is dealt with, and when the last digest was made.
    """CREATE TABLE summary (
        receiver TEXT PRIMARY KEY, schedule TEXT NOT NULL, slot INTEGER NOT NULL, made_at INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE facts (
        id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE turn (
        id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    # `stopped`: what the wall clock said when a daemon stopped as it should; NULL while one runs, or has ended in
    # another way. `unclean`: when the last such ends were noticed.
    """CREATE TABLE daemon (
        id INTEGER PRIMARY KEY CHECK (id = 1), stopped INTEGER, unclean TEXT NOT NULL, checksum INTEGER NOT NULL
    ) STRICT""",
    # That this store is a backup, an empty one or an older state of itself, until every source has been read again.
    # `state_of`: as of when it is, NULL for an empty one.
    """CREATE TABLE mended (
        id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, what TEXT NOT NULL, aside TEXT NOT NULL,
        state_of INTEGER, checksum INTEGER NOT NULL
    ) STRICT""",
)

# Migration n brings a store of version n to version n + 1 (PRAGMA user_version).
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
VERSION = len(MIGRATIONS)
