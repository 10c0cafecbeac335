//! A real installation by hand: init, groups, tokens, join, login, roles. What somebody without a certificate gets.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ucron::model::Token;
use ucron::proto::tls::join_config;

use crate::world::{AGENT, Answer, CENTER, CLIENT, World, ask, eventually, program};

/// Joins with this token, as an agent of this name.
fn join(world: &World, agent: &str, token: &str) -> Answer {
    let mut join = program(AGENT);
    join.args(["join", &world.address(), "--name", agent, "--state"]);
    ask(join.arg(world.path(agent)), token)
}

/// Logs an operator in; the home's name is theirs.
fn login(world: &World, operator: &str) {
    let token = world.must(&["token", "operator", operator]);
    let mut login = program(CLIENT);
    login.args(["login", &world.address(), "--home"]);
    ask(login.arg(world.path(operator)), &token).exits(0);
}

#[test]
fn two_agents_join_two_groups_on_one_machine() {
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    let groups = world.json(&["groups"]);
    let of = |at: usize| {
        let group = &groups[at];
        format!("{} {}", group["name"], group["agents"])
    };
    assert_eq!(
        (of(0), of(1)),
        (r#""db" ["a2"]"#.into(), r#""web" ["a1"]"#.into())
    );
    for (group, agent) in [("web", "a1"), ("db", "a2")] {
        let task = format!("{group}/t");
        world.add(&task, &["--rule", "@every 500ms"], &["true"]);
        let run = world.ended(&task);
        assert_eq!(run.agent.as_deref(), Some(agent));
        assert!(run.is("succeeded"), "{run:?}");
    }
    assert_eq!(world.json(&["status"])["agents"]["online"], 2);
}

#[test]
fn an_empty_fleet_says_what_comes_next() {
    let world = World::empty();
    let status = world.ucron(&["status"]).exits(0);
    let told = format!("{}{}", status.out, status.err);
    assert!(told.contains("ucron group add"), "{told}");
    let address = std::fs::read_to_string(world.path("center/center.addr")).unwrap();
    assert!(
        address.trim().parse::<std::net::SocketAddr>().is_ok(),
        "{address:?}"
    );
}

#[test]
fn a_center_restarted_answers_on_the_same_port() {
    let mut world = World::small();
    let before = world.address();
    world.kill_center();
    world.ucron(&["ls", "--connect-timeout", "300ms"]).exits(6);
    world.start_center();
    assert_eq!(world.address(), before);
    world.is_online("a1");
}

#[test]
fn a_token_is_good_once_and_not_for_ever() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    let token = world.must(&["token", "agent", "--group", "web"]);
    join(&world, "a1", &token).exits(0);
    join(&world, "a2", &token).exits(1).says("was used");
    let short = world.must(&["token", "agent", "--ttl", "1ms"]);
    join(&world, "a3", &short).exits(1).says("expired");
    let operator = world.must(&["token", "operator", "ann"]);
    join(&world, "a4", &operator).exits(1);
    assert_eq!(world.json(&["agents"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_token_that_is_wrong_or_of_another_fleet_is_refused() {
    let world = World::empty();
    let other = World::empty();
    let foreign = other.must(&["token", "agent"]);
    for token in ["", "nonsense", &foreign] {
        let answer = join(&world, "a1", token).exits(1);
        assert!(answer.err.len() > 20, "says why: {answer:?}");
    }
    assert_eq!(world.json(&["agents"]).as_array().unwrap().len(), 0);
}

/// What a peer without a certificate is answered until the link ends.
async fn say_without_certificate(address: &str, token: &str, words: &str) -> String {
    let token = Token::parse(token).unwrap();
    let config = Arc::clone(&join_config(token.pin()).unwrap());
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = "center".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut stream = connector.connect(name, tcp).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A link that is cut ends the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_peer_without_a_certificate_gets_the_join_answer_and_nothing_else() {
    let world = World::empty();
    let token = world.must(&["token", "agent"]);
    let hello =
        r#"{"kind":"hello","protocol_min":1,"protocol_max":1,"version":"1","role":"operator"}"#;
    let ls = r#"{"kind":"request","id":1,"request":{"kind":"task_list"}}"#;
    for secret in [hello, ls, "{}", "nonsense-7f3a", ""] {
        let words = format!("{secret}\r\n");
        let answer = say_without_certificate(&world.address(), &token, &words).await;
        assert!(answer.lines().count() <= 1, "{words}: {answer}");
        assert!(answer.contains(r#""error""#), "{words}: {answer}");
        assert!(!answer.contains("7f3a"), "repeats nothing: {answer}");
    }
    assert_eq!(world.json(&["agents"]).as_array().unwrap().len(), 0);
}

#[test]
fn an_operator_sees_their_groups_only_and_what_is_hidden_is_missing() {
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    for task in ["web/t", "db/secret"] {
        world.add(task, &["--rule", "0 0 1 1 *"], &["true"]);
    }
    let hidden = world.run_now("db/secret").run_id;
    let id = world.json(&["show", "db/secret"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    login(&world, "ann");
    world.must(&["grant", "ann", "viewer", "--group", "web"]);
    let ann = |args: &[&str]| world.as_operator("ann", args);
    assert_eq!(ann(&["ls", "-q"]).exits(0).out.lines().count(), 1);
    for list in ["groups", "agents", "runs", "events"] {
        let told = ann(&[list, "-o", "json"]).exits(0).out;
        // In their quotes: a cursor may hold the letters.
        for name in ["\"db\"", "db/", "\"a2\""] {
            assert!(!told.contains(name), "{list}: {told}");
        }
    }
    let hidden_names = [
        ("db/secret", "db/absent"),
        ("db", "dx"),
        (&id, &id),
        (&hidden, &hidden),
    ];
    for verb in [
        &["show"][..],
        &["stop"],
        &["run"],
        &["next"],
        &["rm", "--yes"],
        &["logs"],
        &["kill"],
    ] {
        for (there, absent) in hidden_names {
            // An id of the same shape that nothing has.
            let absent = if there == absent {
                shifted(absent)
            } else {
                absent.to_owned()
            };
            let ask = |name: &str| {
                let answer = ann(&[verb, &[name]].concat());
                let plain = |text: &str| text.replace(name, "NAME");
                (answer.code, plain(&answer.out), plain(&answer.err))
            };
            assert_eq!(ask(there), ask(&absent), "{verb:?} {there}");
            assert_ne!(ask(there).0, 0, "{verb:?} {there}");
        }
    }
    ann(&["stop", "web/t"]).exits(4);
    world.must(&["grant", "ann", "operator", "--group", "web"]);
    ann(&["stop", "web/t"]).exits(0);
    ann(&["group", "add", "more"]).exits(4);
    ann(&["token", "agent"]).exits(4);
}

/// The same text with its last character another.
fn shifted(id: &str) -> String {
    let other = if id.ends_with('7') { '6' } else { '7' };
    format!("{}{other}", &id[..id.len() - 1])
}

#[test]
fn an_operator_without_a_role_sees_nothing() {
    let world = World::small();
    world.add("web/t", &["--rule", "0 0 1 1 *"], &["true"]);
    login(&world, "eve");
    for list in ["ls", "groups", "agents", "runs", "ps"] {
        let answer = world.as_operator("eve", &[list, "-o", "json"]).exits(0);
        assert_eq!(answer.out.trim(), "[]", "{list}");
    }
    world.as_operator("eve", &["show", "web/t"]).exits(3);
}

#[test]
fn state_directories_and_keys_are_private_under_any_umask() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("c");
    let mut shell = program("sh");
    let line = format!(
        "umask 0; exec {CENTER} init --listen 127.0.0.1:0 --state {}",
        state.display()
    );
    ask(shell.args(["-c", &line]), "").exits(0);
    let mut left = vec![state];
    while let Some(path) = left.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        let wide = meta.permissions().mode() & 0o077;
        assert_eq!(wide, 0, "{}", path.display());
        if meta.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        }
    }
}

#[test]
fn init_makes_no_second_center_in_one_place() {
    let world = World::empty();
    let mut again = program(CENTER);
    again.args(["init", "--listen", "127.0.0.1:0", "--state"]);
    ask(again.arg(world.path("center")), "").exits(1);
    eventually("the first is as it was", || {
        world.ucron(&["status"]).code == 0
    });
}
