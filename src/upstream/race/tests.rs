//! Who is asked first.

use super::*;
use crate::name::Name;
use crate::upstream::tests::mock::{self, Mock, Say};
use crate::upstream::{ClientSubnet, DnssecSettings, Settings, Upstream};

const ADDRESS: [u8; 4] = [192, 0, 2, 7];

fn to(mocks: &[&Mock], strategy: Strategy) -> Arc<Upstream> {
    let settings = Settings {
        servers: mocks.iter().map(|mock| Server::Udp(mock.address())).collect(),
        zones: Vec::new(),
        timeout: Duration::from_secs(4),
        max_in_flight: 100,
        mix_case: false,
        strategy,
        bootstrap: Vec::new(),
        ca_file: None,
        connections: 1,
        client_subnet: ClientSubnet::Off,
        recursion: None,
        dnssec: DnssecSettings::default(),
    };
    Arc::new(Upstream::new(&settings, &[]).expect("good settings"))
}

async fn ask(upstream: &Arc<Upstream>, number: usize) -> Reply {
    let name = Name::parse(&format!("n{number}.example")).expect("a name");
    let ask = Ask { name, qtype: 1, qclass: 1, dnssec_ok: false, checking_disabled: false };
    upstream.ask(ask).await.expect("a reply")
}

fn slow() -> Mock {
    Mock::start(|_| Say::Later(Duration::from_millis(100), Box::new(Say::A(ADDRESS))))
}

#[tokio::test]
async fn in_order_the_first_that_works_is_asked_however_slow() {
    let (dead, slow, fast) = (mock::dead_address(), slow(), Mock::fixed(ADDRESS));
    let upstream = to(&[&slow, &fast], Strategy::Ordered);
    for number in 0..8 {
        assert_eq!(ask(&upstream, number).await.server, slow.address());
    }
    assert_eq!(fast.total(), 0);
    let settings = |servers| Settings {
        servers,
        zones: Vec::new(),
        timeout: Duration::from_secs(4),
        max_in_flight: 100,
        mix_case: false,
        strategy: Strategy::Ordered,
        bootstrap: Vec::new(),
        ca_file: None,
        connections: 1,
        client_subnet: ClientSubnet::Off,
        recursion: None,
        dnssec: DnssecSettings::default(),
    };
    let servers = vec![Server::Udp(dead), Server::Udp(slow.address()), Server::Udp(fast.address())];
    let upstream = Arc::new(Upstream::new(&settings(servers), &[]).expect("good settings"));
    assert_eq!(ask(&upstream, 99).await.server, slow.address(), "the next one");
}

#[tokio::test]
async fn at_random_each_has_its_share() {
    let mocks = [1, 2, 3].map(|_| Mock::fixed(ADDRESS));
    let upstream = to(&mocks.each_ref(), Strategy::Random);
    for number in 0..150 {
        ask(&upstream, number).await;
    }
    let shares: Vec<_> = mocks.iter().map(Mock::total).collect();
    // 50 each; that one of them gets fewer than 15 happens once in 10^9 runs.
    assert!(shares.iter().all(|&share| share >= 15), "{shares:?}");
}

#[tokio::test]
async fn in_parallel_all_are_asked_and_the_first_answer_counts() {
    let (silent, slow, fast) = (Mock::start(|_| Say::Silence), slow(), Mock::fixed(ADDRESS));
    let upstream = to(&[&silent, &slow, &fast], Strategy::Parallel);
    for number in 0..5 {
        assert_eq!(ask(&upstream, number).await.server, fast.address());
    }
    assert!(upstream.health().iter().all(|server| server.asked == 5), "{:?}", upstream.health());
    assert!(upstream.health().iter().all(|server| server.failed == 0), "nobody was waited for, so nobody is to blame");
}
