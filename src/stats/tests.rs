//! What is counted is counted once, whoever counts.

use super::*;

#[test]
fn workers_add_up_and_lists_keep_their_place() {
    let stats = Stats::default();
    let (mut one, mut two) = (stats.counters(), stats.counters());
    let slot = stats.slot(&"orders".into());
    assert_eq!(stats.slot(&"other".into()), slot + 1);
    assert_eq!(stats.slot(&"orders".into()), slot);
    one.hit(slot, Mode::Enforce, AnswerKind::Nxdomain);
    two.hit(slot, Mode::Enforce, AnswerKind::Nxdomain);
    two.hit(slot, Mode::Shadow, AnswerKind::Passed);
    let totals = stats.totals();
    assert_eq!((totals.query(Counter::Blocked), totals.query(Counter::Shadow)), (2, 1));
    assert_eq!((stats.hits(slot), stats.hits(slot + 1)), (3, 0));
    assert_eq!(totals.lists[0], ListTotals { name: "orders".into(), blocked: 2, shadow: 1 });
    let json = serde_json::to_value(&totals).expect("plain data");
    assert_eq!(json["answers"]["nxdomain"], 2);
}

#[test]
fn clones_count_at_the_same_time_and_beside_the_worker_and_nothing_is_lost() {
    const EACH: u64 = 20_000;
    let stats = Stats::default();
    let mut worker = stats.counters();
    let slot = stats.slot(&"orders".into());
    let threads: Vec<_> = (0..3)
        .map(|_| worker.clone())
        .chain([stats.counters().clone(), worker.clone().clone()])
        .map(|mut clone| {
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    clone.hit(slot, Mode::Enforce, AnswerKind::Sinkhole);
                    clone.count(Counter::Received);
                }
            })
        })
        .collect();
    for _ in 0..EACH {
        worker.hit(slot, Mode::Enforce, AnswerKind::Sinkhole);
        worker.bump(Counter::Received);
    }
    threads.into_iter().for_each(|thread| thread.join().expect("counted"));
    let totals = stats.totals();
    assert_eq!((totals.query(Counter::Received), totals.query(Counter::Blocked)), (6 * EACH, 6 * EACH));
    assert_eq!(totals.lists[0].blocked, 6 * EACH);
}

#[test]
fn what_came_in_and_the_answers_are_counted_by_transport() {
    let stats = Stats::default();
    let (mut one, two) = (stats.counters(), stats.counters());
    let mut other = two.clone();
    one.received(Transport::Udp);
    one.received(Transport::Tcp);
    other.received(Transport::Tcp);
    other.count(Counter::Received);
    for rcode in [0, 3, 3, 15, 16, 17, 23, u16::MAX] {
        one.answered(Transport::Tcp, rcode);
        other.answered(Transport::Udp, rcode);
    }
    let totals = stats.totals();
    assert_eq!(totals.query(Counter::Received), 4);
    let [udp, tcp, ..] = &totals.transports[..] else { panic!("these are the first") };
    assert_eq!((udp.transport, udp.received, tcp.transport, tcp.received), ("udp", 1, "tcp", 2));
    for transport in [udp, tcp] {
        let some: Vec<_> = transport.rcodes.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [&("noerror", 1), &("nxdomain", 2), &("rcode15", 1), &("badvers", 3), &("badcookie", 1)]);
    }
}

#[test]
fn names_stand_in_the_order_of_their_counters() {
    for (place, (counter, name)) in Counter::ALL.iter().enumerate() {
        assert_eq!(*counter as usize, place, "{name}");
    }
    for (place, transport) in Transport::ALL.iter().enumerate() {
        assert_eq!(*transport as usize, place, "{}", transport.as_str());
    }
    for (place, kind) in AnswerKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, place, "{}", kind.as_str());
    }
}
