//! Every story of the operator's guide, played command by command; what the guide shows must come back.

use std::collections::VecDeque;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::mock::Mock;
use crate::support::server::{DEADLINE, Folder, Ran, Server, Setup, binary, eventually, repository, within};

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// Sections of the guide that are played here: all that have commands.
const STORIES: [&str; 6] = [
    "A new order under a deadline",
    "A mistaken order",
    "A feed turned to garbage",
    "Rollback",
    "An order that expires",
    "Proof for a court",
];

#[test]
fn every_story_of_the_guide_is_played() {
    let guide = guide();
    let with_commands = guide.split("\n## ").skip(1).filter(|section| section.contains("\n$ "));
    let titles: Vec<&str> = with_commands.map(|section| section.lines().next().unwrap_or_default()).collect();
    assert_eq!(titles, STORIES);
}

#[test]
fn a_new_order_under_a_deadline() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "A new order under a deadline");
    let watch = story.beside("qalqan probe --watch casino.example", &mock);
    story.step("mv 2026-17.toml orders/", 0);
    story.joins(watch);
    assert!(
        story.server.a("casino.example").is_address("0.0.0.0") && story.server.a("shop.example").is_address("0.0.0.0")
    );
    assert!(story.server.a("www.shop.example").is_address(FREE));
    story.step("qalqan why www.casino.example", 0);
    story.step("qalqan probe --list orders --order 2026-17", 0);
    story.step("qalqan orders for www.casino.example", 0);
    story.step("qalqan orders overdue", 0);
    story.step("qalqan lists", 0);
    story.end();
}

#[test]
fn a_mistaken_order() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "A mistaken order");
    story.step("mv 2026-18.toml orders/", 0);
    story.server.blocks("roulette.example");
    assert!(story.server.a("poker.example").is_address("0.0.0.0") && story.server.a("google.com").is_address(FREE));
    story.step("qalqan held", 1);
    story.step("qalqan why google.com", 0);
    story.step("qalqan dismiss orders google.com --reason 'typing error, letter to the ministry of 12 January'", 0);
    story.step("qalqan held --all", 0);
    assert!(story.server.a("google.com").is_address(FREE));
    story.step("qalqan probe --list orders --order 2026-18", 0);
    story.step("qalqan release orders google.com --reason 'confirmed by telephone, 13 January, Mr Smith'", 0);
    assert!(story.server.a("www.google.com").is_address("0.0.0.0"));
    story.step("qalqan undecide orders google.com", 0);
    assert!(story.server.a("www.google.com").is_address(FREE) && story.server.a("poker.example").is_address("0.0.0.0"));
    story.end();
}

#[test]
fn a_feed_turned_to_garbage() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "A feed turned to garbage");
    let enforced = |story: &Story| {
        for name in ["n0.example", "n999.example", "old.example"] {
            assert!(story.server.a(name).is_address("0.0.0.0"), "{name}");
        }
        assert!(story.server.a("n5000.example").is_address(FREE));
    };
    for (bad, look) in [
        ("echo '<!DOCTYPE html><html><body>error 500</body></html>' > new && mv new feed.txt", "qalqan lists"),
        (": > new && mv new feed.txt", "qalqan lists"),
        ("seq 0 499 | sed 's/.*/n&.example/' > new && mv new feed.txt", "qalqan lists"),
        ("seq 0 9999 | sed 's/.*/n&.example/' > new && mv new feed.txt", "qalqan held feed"),
    ] {
        story.step(bad, 0);
        story.step(look, 1);
        enforced(&story);
    }
    story.step(
        "qalqan release feed --whole=22bd5d35 --reason 'joined with the register of the tax office, mail of 14 January'",
        0,
    );
    assert!(story.server.a("n5000.example").is_address("0.0.0.0"));
    story.step("qalqan lists", 0);
    story.end();
}

#[test]
fn rollback() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "Rollback");
    // The version before is kept once it is in force; that it is proves nothing of when.
    let kept = || story.server.run(&["lists", "versions", "feed"]).code == Some(0);
    eventually("a version is kept", kept, || story.server.stderr());
    story.step("(seq 0 999 | sed 's/.*/n&.example/'; echo bank.example) > new && mv new feed.txt", 0);
    story.server.blocks("bank.example");
    story.step("qalqan lists versions feed", 0);
    story.step("qalqan lists diff feed", 0);
    story.step("qalqan lists rollback feed --reason 'blocks a bank, ticket 4711'", 0);
    assert!(story.server.a("bank.example").is_address(FREE) && story.server.a("n999.example").is_address("0.0.0.0"));
    story.step("qalqan lists", 0);
    story.step("seq 0 1004 | sed 's/.*/n&.example/' > new && mv new feed.txt", 0);
    story.step("qalqan lists unpin feed --reason 'mended, ticket 4711'", 0);
    assert!(story.server.a("n1004.example").is_address("0.0.0.0") && story.server.a("bank.example").is_address(FREE));
    story.end();
}

#[test]
fn an_order_that_expires() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "An order that expires");
    // The guide's order, with a moment that this test lives to see.
    let soon = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 6).expect("a time");
    let order = story.folder.read("2026-19.toml");
    let soon = order.replace("2026-07-01T00:00:00+05:00", &soon.to_string());
    assert_ne!(soon, order);
    story.folder.write("2026-19.toml", soon);
    story.step("mv 2026-19.toml orders/", 0);
    story.server.blocks("bet.example");
    story.step("qalqan why bet.example", 0);
    story.server.comes_to("bet.example", FREE);
    story.step("qalqan why bet.example", 0);
    assert!(story.server.a("old.example").is_address("0.0.0.0"));
    story.end();
}

#[test]
fn proof_for_a_court() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let mut story = Story::begin(&mock, "Proof for a court");
    story.step("qalqan probe --receipt receipt.json", 0);
    assert!(story.folder.read("receipt.json").contains("\"all_blocked\": true"));
    let verified = story.step("qalqan audit verify", 0);
    let head = verified.stdout.lines().find_map(|line| line.strip_prefix("head    ")).expect("a head").to_owned();
    story.step_as(&format!("qalqan audit verify --expect {head}"), 0);
    let exported = story.step("qalqan audit export --from 2026-01-01 --format csv", 0);
    for event in [",server_started,", ",list_accepted,", ",snapshot_published,"] {
        assert!(exported.stdout.contains(event), "{event}: {exported:?}");
    }
    story.end();
}

/// A section of the guide, and a server it is played on.
struct Story {
    folder: Arc<Folder>,
    server: Server,
    steps: VecDeque<Step>,
}

/// A command of the guide, and the lines it shows below it.
#[derive(Debug)]
struct Step {
    command: String,
    shows: Vec<String>,
}

impl Story {
    /// A server with the guide's configuration and the section's files.
    fn begin(mock: &Mock, title: &str) -> Self {
        assert!(STORIES.contains(&title));
        let guide = guide();
        let mut sections = guide.split("\n## ");
        let preface = sections.next().unwrap_or_default();
        let section = sections.find(|section| section.lines().next() == Some(title)).expect("the section");
        let folder = Folder::new();
        let config = files(preface).into_iter().find(|(name, _)| name == "config.toml").expect("the configuration").1;
        let ranks = "1,google.com\n2,wikipedia.org\n";
        folder.write("top.csv", ranks);
        folder.write("feed.txt", (0..1000).map(|number| format!("n{number}.example\n")).collect::<String>());
        folder.write("orders/2026-16.toml", "id = \"2026-16\"\nauthority = \"Agency\"\ndomains = [\"old.example\"]\n");
        for (name, content) in files(section) {
            folder.write(&name, content);
        }
        let server = Server::start(&folder, &Setup::new(mock.address()).more(&config));
        Self { folder, server, steps: steps(section) }
    }

    /// The next command of the guide, which must be this one; it exits so, and its output has every line the guide
    /// shows. What only looks is asked until it sees what happened.
    fn step(&mut self, command: &str, code: i32) -> Ran {
        let next = self.steps.front().map(|step| step.command.clone());
        assert_eq!(next.as_deref(), Some(command), "the guide goes on otherwise");
        self.step_as(command, code)
    }

    /// The same, where numbers and hashes in the command are others than in the guide.
    fn step_as(&mut self, command: &str, code: i32) -> Ran {
        let step = self.steps.pop_front().expect("the guide ends before");
        assert_eq!(masked(&step.command), masked(command), "the guide goes on otherwise");
        let acts = !command.starts_with("qalqan ")
            || ["release ", "dismiss ", "undecide ", "lists rollback ", "lists unpin "]
                .iter()
                .any(|verb| command.starts_with(&format!("qalqan {verb}")));
        let started = Instant::now();
        loop {
            let ran = run(&self.folder, command);
            let wrong = wrong(&step, &ran, code);
            if wrong.is_empty() {
                return ran;
            }
            assert!(
                !acts && started.elapsed() < DEADLINE,
                "{command}: {wrong}\nit printed:\n{}{}",
                ran.stdout,
                ran.stderr
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The next command, which goes on while others are run; it has asked its first question by now.
    fn beside(&mut self, command: &str, mock: &Mock) -> (Step, thread::JoinHandle<Ran>) {
        let step = self.steps.pop_front().expect("the guide ends before");
        assert_eq!(step.command, command);
        let (folder, line, before) = (Arc::clone(&self.folder), step.command.clone(), mock.total());
        let running = thread::spawn(move || run(&folder, &line));
        eventually("it asks", || mock.total() > before, || self.server.stderr());
        (step, running)
    }

    /// Waits for the end of what went on beside.
    fn joins(&self, (step, running): (Step, thread::JoinHandle<Ran>)) {
        let ran = running.join().expect("no panic");
        let wrong = wrong(&step, &ran, 0);
        assert!(wrong.is_empty(), "{wrong}: {ran:?}");
    }

    /// The guide has no further command.
    fn end(self) {
        assert!(self.steps.is_empty(), "not played: {:?}", self.steps);
        self.server.stop();
    }
}

/// The guide.
fn guide() -> String {
    fs::read_to_string(repository().join("docs/operators-guide.md")).expect("docs/operators-guide.md")
}

/// Runs a line of the guide in a folder, with `qalqan` for our own.
fn run(folder: &Folder, line: &str) -> Ran {
    let own = binary(folder).get_program().to_string_lossy().into_owned();
    let mut shell = within(folder, "sh");
    shell.arg("-c").arg(format!("qalqan() {{ '{own}' \"$@\"; }}\n{line}")).stdin(Stdio::null());
    let output = shell.output().expect("a shell");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// What is not as the guide says; nothing if all is.
fn wrong(step: &Step, ran: &Ran, code: i32) -> String {
    let came: Vec<String> = ran.stdout.lines().chain(ran.stderr.lines()).map(masked).collect();
    let missing = step.shows.iter().map(|line| masked(line)).find(|line| !came.contains(line));
    match missing {
        _ if ran.code != Some(code) => format!("exit status {:?}, not {code}", ran.code),
        Some(line) => format!("this line does not come: {line}"),
        None => String::new(),
    }
}

/// The files a part of the guide shows: name and content.
fn files(part: &str) -> Vec<(String, String)> {
    let file = |block: &str| {
        let (name, rest) = block.split_once(" -->")?;
        let (_, rest) = rest.split_once("```toml\n")?;
        let (content, _) = rest.split_once("```")?;
        Some((name.to_owned(), content.to_owned()))
    };
    part.split("<!-- file: ").skip(1).map(|block| file(block).expect("a name, then a block")).collect()
}

/// The commands a part of the guide shows.
fn steps(part: &str) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    for block in part.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ "), steps.back_mut()) {
                (Some(command), _) => steps.push_back(Step { command: command.to_owned(), shows: Vec::new() }),
                (None, Some(Step { shows, .. })) => shows.push(line.to_owned()),
                (None, None) => panic!("output before any command: {line}"),
            }
        }
    }
    steps
}

/// A line with what is another one each time made alike: times, hashes, addresses, users, blanks; and where nothing else
/// stands in it, numbers.
fn masked(line: &str) -> String {
    let changes =
        ["generation ", "proven "].iter().any(|start| line.starts_with(start)) || line.contains(" questions; ");
    let in_number = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | 'T' | 'Z' | '+' | '-');
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let core = word.trim_end_matches([',', ';', ':', ')']);
        let end = word.get(core.len()..).unwrap_or_default();
        let before = words.last().map_or("", String::as_str);
        let number = core.contains(|c: char| c.is_ascii_digit()) && core.chars().all(in_number);
        // A count of entries is the same each time, and what the line is about.
        let count = core.len() <= 5 && core.bytes().all(|byte| byte.is_ascii_digit());
        let word = match core {
            "ago" => {
                words.truncate(words.len().saturating_sub(2));
                format!("#ago{end}")
            }
            "now" => format!("#ago{end}"),
            _ if before == "by" && end == "," => "somebody,".to_owned(),
            _ if number && (!count || changes || before == "seed") => format!("#{end}"),
            _ if changes => core.trim_end_matches('s').to_owned() + end,
            _ => word.to_owned(),
        };
        words.push(word);
    }
    words.join(" ")
}

#[test]
fn only_what_changes_is_masked() {
    let alike = [
        ("feed   block  enforce  1000  0  9 hours ago  current", "feed block enforce 1000 0 now current"),
        ("  dismissed by anna, 2026-01-12T09:34:45Z: a mistake", "dismissed by root, 2027-01-12T00:00:00Z: a mistake"),
        ("proven  48213 events in 2 files: none", "proven  1 event in 1 file: none"),
        ("receipt bfa0fff0a310", "receipt 1111111111111"),
        ("seed 12", "seed 224254108"),
    ];
    for (one, other) in alike {
        assert_eq!(masked(one), masked(other));
    }
    for (one, other) in [("feed 1000 0", "feed 1000 1"), ("orders/2026-17.toml:6", "orders/2026-17.toml:7")] {
        assert_ne!(masked(one), masked(other));
    }
}
