//! The threads that answer UDP, and where they run.

use std::fs;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};

/// The CPUs a process or thread may use, as numbers.
fn allowed(status: &str) -> Vec<usize> {
    let status = fs::read_to_string(status).expect("it is there");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux says it");
    let number = |text: &str| text.trim().parse::<usize>().expect("a number");
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(text)..=number(text),
    };
    list.split(',').flat_map(range).collect()
}

/// Threads of a server by name, each with the CPUs it may use, in order of names.
fn threads(server: &Server) -> Vec<(String, Vec<usize>)> {
    let tasks = format!("/proc/{}/task", server.pid());
    let mut found = Vec::new();
    for task in fs::read_dir(tasks).expect("its threads").map_while(Result::ok) {
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
        found.push((name.trim().to_owned(), allowed(&task.path().join("status").to_string_lossy())));
    }
    found.sort();
    found
}

#[test]
fn pinned_workers_have_a_cpu_each_in_turn_and_all_else_stays_free() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let ours = allowed("/proc/self/status");
    // More than there are CPUs here, so that the count goes round.
    let workers = ours.len() + 1;
    for pin in [false, true] {
        let folder = Folder::new();
        let setup = Setup::new(mock.address()).server(&format!("workers = {workers}\npin = {pin}"));
        let server = Server::start(&folder, &setup);
        let pinned = |index: usize| if pin { vec![ours[index % ours.len()]] } else { ours.clone() };
        let mut expected: Vec<_> = (0..workers).map(|index| (format!("udp-{index}"), pinned(index))).collect();
        expected.sort();
        // A thread pins itself as it begins, which may be after the server answers.
        let are = || threads(&server).into_iter().filter(|(name, _)| name.starts_with("udp-")).collect::<Vec<_>>();
        eventually("workers are where they should be", || are() == expected, || format!("{:?}", are()));
        let others = threads(&server).into_iter().filter(|(name, _)| !name.starts_with("udp-"));
        for (name, cpus) in others {
            assert_eq!(cpus, ours, "{name}");
        }
        for index in 0..20 {
            assert!(server.a(&format!("n{index}.example")).is_address("192.0.2.1"));
        }
        assert!(!server.stderr().contains("kept on one CPU"), "{}", server.stderr());
    }
}
