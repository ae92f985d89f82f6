use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// Answers each flush with the length of its name and everything else with a refusal, until `count` were asked.
async fn answer(mut asked: tokio::sync::mpsc::Receiver<Asked>, count: usize) {
    for _ in 0..count {
        let Asked { request, who, reply } = asked.recv().await.expect("a request");
        assert!(!who.user.is_empty());
        let answer = match request {
            Request::Flush { name, .. } => Ok(json!({ "answers": name.len() })),
            _ => Err(Refused("not today".into())),
        };
        reply.send(answer).expect("somebody waits");
    }
}

/// Asks on a thread, as the runtime is busy answering.
async fn ask_there(state_dir: &Path, request: Request) -> Result<Flushed, AskError> {
    let state_dir = state_dir.to_owned();
    tokio::task::spawn_blocking(move || ask(&state_dir, &request)).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_get_their_answers_at_any_depth_of_folder() {
    let top = tempfile::tempdir().expect("a folder");
    let deep = top.path().join("x".repeat(60)).join("y".repeat(60));
    std::fs::create_dir_all(&deep).expect("folders");
    for state_dir in [top.path(), &deep] {
        let (socket, asked) = Socket::open(state_dir).expect("a socket");
        let server = tokio::spawn(answer(asked, 2));
        let flush = Request::Flush { name: "example.com".into(), subtree: true };
        assert_eq!(ask_there(state_dir, flush).await.expect("an answer"), Flushed { answers: 11 });
        let refused = ask_there(state_dir, Request::Status).await.expect_err("a refusal");
        assert_eq!(refused.to_string(), "not today");
        server.await.expect("no panic");
        drop(socket);
        assert!(!state_dir.join(SOCKET).exists());
        let gone = ask_there(state_dir, Request::Status).await.expect_err("nobody");
        assert!(matches!(gone, AskError::NotRunning(_)), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_a_folder_and_a_killed_one_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let left = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).expect("bound");
    drop(left);
    let (_socket, _asked) = Socket::open(folder.path()).expect("what was left is no obstacle");
    let second = Socket::open(folder.path()).expect_err("in use");
    assert!(second.to_string().contains("another server uses the state folder"), "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_and_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_socket, asked) = Socket::open(folder.path()).expect("a socket");
    let server = tokio::spawn(answer(asked, 1));
    let path = folder.path().join(SOCKET);
    let answers = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).expect("connected");
        let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
        let mut exchange = |text: &[u8]| -> Value {
            stream.write_all(text).expect("written");
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            serde_json::from_str(&line).expect("JSON")
        };
        [
            exchange(b"\xff\0not json\n"),
            exchange(b"{\"ask\":\"no such thing\"}\n"),
            exchange(b"{\"ask\":\"flush\",\"name\":\"a\",\"subtree\":false}\n"),
            exchange(&vec![b'x'; (1 << 20) + 10]),
        ]
    });
    let [garbage, unknown, flushed, long] = answers.await.expect("no panic");
    assert!(garbage["error"].as_str().expect("a text").contains("not a request"));
    assert!(unknown["error"].as_str().expect("a text").contains("no such thing"));
    assert_eq!(flushed, json!({ "ok": { "answers": 1 } }));
    assert!(long["error"].as_str().expect("a text").contains("too long"));
    server.await.expect("no panic");
}

#[tokio::test]
async fn a_request_nobody_answers_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_socket, mut asked) = Socket::open(folder.path()).expect("a socket");
    let state_dir = folder.path().to_owned();
    let waiting = tokio::task::spawn_blocking(move || ask::<Status>(&state_dir, &Request::Reload));
    drop(asked.recv().await.expect("a request"));
    let error = waiting.await.expect("no panic").expect_err("no answer");
    assert!(error.to_string().contains("the server is stopping"), "{error}");
}
