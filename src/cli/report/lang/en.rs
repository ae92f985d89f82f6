//! English.

use super::Texts;
use crate::cli::output::counted;
use crate::cli::report::data::Remark;

pub(super) const TEXTS: Texts = Texts {
    code: "en",
    title: "Report on queries for blocked names",
    period: "Period",
    until: "to",
    not_included: "not included",
    time_zone: "Time zone",
    generated_at: "Made at",
    made_by: "Made by",
    hosts: "Counted by",
    config: "SHA-256 of the configuration",
    only_order: "Only order",
    only_authority: "Only orders of",
    only_list: "Only list",
    summary: "Summary",
    over_time: "Over time",
    by_order: "By order",
    by_list: "By list",
    top_names: "Names with the most queries",
    by_type: "By record type",
    by_answer: "By answer",
    rows: "Names by order and list",
    in_force: "List versions in force",
    remarks_head: "What is special about this report",
    notes_head: "How it is counted",
    name: "Name",
    names: "Names",
    order: "Order",
    authority: "Authority",
    legal_basis: "Legal basis",
    list: "List",
    outcome: "Outcome",
    hits: "Queries",
    attempts: "Attempts",
    clients: "Clients",
    first_hit: "First query",
    last_hit: "Last query",
    queries: "All queries to the resolver, for any name",
    version: "Version",
    entries: "Entries",
    from: "From",
    to: "To",
    mode: "Mode",
    kind: "Kind",
    no_order: "without an order",
    none: "none",
    modes: ["enforced", "counted only"],
    outcomes: ["blocked", "counted only (shadow)", "let through (exception)"],
    group: ',',
    decimal: '.',
    bar: ["a bar is a minute", "a bar is an hour", "a bar is a day"],
    highest: "the highest",
    more_rows: |rows| format!("… and {} more: CSV, JSON and Parquet have all of them.", counted(rows, "row")),
    seconds: |seconds| counted(seconds, "second"),
    notes: &[
        (
            "Queries",
            "DNS queries of any type whose name a rule covered, counted exactly, one by one. A visit to one page makes several: \
             devices ask for IPv4, IPv6 and HTTPS records, and ask again when they are refused. What a device or a router \
             answered from its own memory was never asked here. A query is not a visit, and not a person.",
        ),
        (
            "Attempts",
            "Queries of one client address for one rule within {window} count as one attempt, from the first of them on. This \
             takes repetitions and the several record types out. Software that tries by itself makes attempts, too.",
        ),
        (
            "Clients",
            "Distinct client addresses (IPv6: /64 networks) of blocked queries, and for lists of all queries, estimated for each day (HyperLogLog, standard error about 1.6 %). Behind an address there may \
             be one person or many. No address is kept: the key of the estimate is new every day and never written down, so \
             addresses of different days cannot be compared. Over several days, or after a restart, the number therefore \
             lies between the first figure (all days had the same clients) and the second (no client came twice). Fewer than \
             {threshold} are shown as <{threshold}.",
        ),
        (
            "Names",
            "Names as the lists write them: example.com stands for itself and all names below it, =example.com for itself only, \
             *.example.com for the names below it only.",
        ),
        (
            "Orders",
            "A query counts under each order in force that its name rested on at that moment. Rows of different orders must not be added \
             up; the summary counts each query once.",
        ),
        (
            "Lists",
            "In the rows: the list that decided. In the table by list: every list with a rule for the name; its lines must not be added up.",
        ),
        (
            "Outcome",
            "Blocked: answered as the list prescribes. Counted only: a list in shadow mode would have blocked it. Let \
             through: an exception covers the name.",
        ),
        (
            "First and last query",
            "The minute, hour or day in which it fell: minutes are kept for days, hours for about a year.",
        ),
        (
            "List versions",
            "From the audit log of the server, whose lines are chained by hashes. The SHA-256 can be computed again from the list itself.",
        ),
        (
            "Not in this report",
            "Who asked. Names that no rule covers. Queries of devices that use another resolver or reach a service without DNS.",
        ),
    ],
    remark: |remark| {
        match remark {
        Remark::Widened => {
            "What is kept is too coarse for the period that was asked for: it was widened to whole hours or days."
                .into()
        }
        Remark::WholeDays => {
            "Clients are counted by the day: their numbers are those of all days the period touches.".into()
        }
        Remark::Unexamined(hits) => format!(
            "{} came too fast to be examined: counted as queries, but in no attempt and no client.",
            counted(hits, "query")
        ),
        Remark::Gaps(minutes) => {
            format!("For {} of the period no server counted.", counted(minutes.unsigned_abs(), "minute"))
        }
        Remark::Filtered => {
            "Only what is named above is counted. Clients of a name are those of all its queries, also by other lists."
                .into()
        }
        Remark::AuditBroken => "The audit log was changed: which list versions were in force is not proven.".into(),
        Remark::AuditShort => {
            "The audit log does not go back to the beginning of the period: list versions may be missing.".into()
        }
        Remark::Unfinished => "The period had not ended when the report was made.".into(),
        Remark::Fleet => "The figures are those of all servers that send to ClickHouse. There attempts are told apart by the clock \
             and not from the first query on, so there are a few more of them than by the servers' own count; times are of \
             whole hours, and versions of lists are not known."
            .into(),
        Remark::Cut => {
            "There are more rows than a report holds: the rows are not all. Choose a shorter period or larger steps."
                .into()
        }
    }
    },
    check: "The file beside this one that ends in .sha256 says what it must be: sha256sum -c FILE.sha256",
};
