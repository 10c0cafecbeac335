//! The frames of the wire, as they were released: every line of tests/frames decodes, and encodes to the same JSON
//! again; no message is without one; and the examples in man/ucron-protocol.7 are such lines. Lines are added, and
//! never edited once released: whatever a released program sends must stay readable.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use ucron::proto::agent::{FromAgent, RunEvent, ToAgent};
use ucron::proto::client::{FromClient, ToClient};
use ucron::proto::codec::{read_frame, write_frame};
use ucron::proto::hello::LinkError;
use ucron::proto::join::{FromJoiner, ToJoiner};
use ucron::proto::link::Message;
use ucron::proto::request::{Answer, Change, Item, RefusalCode, Request};

const FROM_JOINER: &str = include_str!("frames/from-joiner.json");
const TO_JOINER: &str = include_str!("frames/to-joiner.json");
const FROM_AGENT: &str = include_str!("frames/from-agent.json");
const TO_AGENT: &str = include_str!("frames/to-agent.json");
const FROM_CLIENT: &str = include_str!("frames/from-client.json");
const TO_CLIENT: &str = include_str!("frames/to-client.json");
const PAGE: &str = include_str!("../man/ucron-protocol.7");

/// Decodes every line and encodes it again; gives the messages.
fn check<M: Message>(lines: &str) -> Vec<M> {
    let check_line = |line: &str| {
        let message: M = read_frame(line.as_bytes())
            .unwrap_or_else(|e| panic!("{}\n{line}", e.frame(true).message));
        let mut again = Vec::new();
        write_frame(&message, &mut again).unwrap();
        assert!(again.ends_with(b"}\r\n"), "{line}");
        assert_eq!(value(&again), value(line.as_bytes()), "{line}");
        message
    };
    lines.lines().map(check_line).collect()
}

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

/// `fn NAME(of: impl Iterator<&TYPE>)` asserts that every variant is among them. The match has no wildcard: a new
/// variant does not compile until it stands here, and then fails until it has a line.
macro_rules! every_variant {
    ($check:ident, $type:ident: $($variant:ident),+ $(,)?) => {
        fn $check<'a>(of: impl IntoIterator<Item = &'a $type>) {
            let name = |message: &$type| match message {
                $($type::$variant { .. } => stringify!($variant)),+
            };
            let found: BTreeSet<&str> = of.into_iter().map(name).collect();
            for wanted in [$(stringify!($variant)),+] {
                assert!(found.contains(wanted), "no golden frame has {}::{wanted}", stringify!($type));
            }
        }
    };
}

every_variant!(every_from_joiner, FromJoiner: Join, Stored);
every_variant!(every_to_joiner, ToJoiner: Joined, Error);
every_variant!(every_from_agent, FromAgent: Hello, Heartbeat, State, Policy, Confirm, Report, Problems, Log, LogEnd, Error);
every_variant!(
    every_to_agent, ToAgent: Welcome, HeartbeatAck, Order, Acknowledge, ReadLog, LogCredit, CloseLog, Error
);
every_variant!(every_run_event, RunEvent: Started, AttemptEnded, Ended, NotStarted, Slot);
every_variant!(every_from_client, FromClient: Hello, Request, Credit, Cancel, Error);
every_variant!(every_to_client, ToClient: Welcome, Answer, Refused, Item, End, Error);
every_variant!(
    every_request, Request: TaskAdd, TaskImport, TaskEdit, TaskShow, TaskList, TaskStop, TaskStart, TaskRestart, TaskRemove,
    TaskRun, RunList, RunWait, RunShow, RunKill, ProcessList, LogRead, AgentList, AgentAdd, AgentDrain, AgentRename,
    AgentRemove, GroupList, GroupAdd, GroupRemove, GroupAssign, GroupFreeze,
    GroupThaw, OperatorList, OperatorRemove, Grant, TokenAgent,
    TokenOperator, TokenCenter, Status, Events, Audit, Watch
);
every_variant!(
    every_answer, Answer: Saved, Imported, Task, Tasks, Changed, Frozen, Started, Runs, Run, Processes, Agents, Groups, Operators,
    Token, Status, Audit, Done
);
every_variant!(every_item, Item: Log, Event, Change);
every_variant!(
    every_change, Change: Complete, Status, Group, GroupGone, Agent, AgentGone, Task, TaskGone, Process,
    ProcessGone, Run
);
every_variant!(
    every_link_error, LinkError: TooLong, NotUtf8, NotJson, UnknownMessage, Unexpected, Protocol, Timeout,
    Identity, Replaced, Copied, Epoch, Token, Closing, Slow, Internal
);
every_variant!(
    every_refusal_code, RefusalCode: Failed, Usage, NotFound, Forbidden, Conflict, Unavailable
);

#[test]
fn joiners_frames_keep_their_form() {
    every_from_joiner(&check::<FromJoiner>(FROM_JOINER));
    every_to_joiner(&check::<ToJoiner>(TO_JOINER));
}

#[test]
fn agents_frames_keep_their_form() {
    let from = check::<FromAgent>(FROM_AGENT);
    every_from_agent(&from);
    let events = from.iter().filter_map(|frame| match frame {
        FromAgent::Report(report) => Some(&report.events),
        _ => None,
    });
    every_run_event(events.flatten());
    every_to_agent(&check::<ToAgent>(TO_AGENT));
}

#[test]
fn clients_frames_keep_their_form() {
    let from = check::<FromClient>(FROM_CLIENT);
    every_from_client(&from);
    every_request(from.iter().filter_map(|frame| match frame {
        FromClient::Request(request) => Some(&request.ask),
        _ => None,
    }));
}

#[test]
fn answers_to_clients_keep_their_form() {
    let to = check::<ToClient>(TO_CLIENT);
    every_to_client(&to);
    every_answer(to.iter().filter_map(|frame| match frame {
        ToClient::Answer(answer) => Some(&answer.answer),
        _ => None,
    }));
    let items: Vec<&Item> = to.iter().filter_map(item).collect();
    every_item(items.iter().copied());
    every_change(items.into_iter().filter_map(|item| match item {
        Item::Change(change) => Some(change.as_ref()),
        _ => None,
    }));
    every_refusal_code(to.iter().filter_map(|frame| match frame {
        ToClient::Refused(refused) => Some(&refused.refusal.code),
        ToClient::End(end) => end.refusal.as_ref().map(|refusal| &refusal.code),
        _ => None,
    }));
}

fn item(frame: &ToClient) -> Option<&Item> {
    match frame {
        ToClient::Item(frame) => Some(&frame.item),
        _ => None,
    }
}

#[test]
fn every_code_of_a_closed_link_has_a_frame() {
    let (agents, clients) = (check::<ToAgent>(TO_AGENT), check::<ToClient>(TO_CLIENT));
    let (joiners, own) = (check::<ToJoiner>(TO_JOINER), check::<FromAgent>(FROM_AGENT));
    let codes = agents.iter().filter_map(Message::as_error);
    let codes = codes.chain(clients.iter().filter_map(Message::as_error));
    let codes = codes.chain(joiners.iter().filter_map(Message::as_error));
    let codes = codes.chain(own.iter().filter_map(Message::as_error));
    every_link_error(codes.map(|error| &error.code));
}

/// A literal block of the page, with the line it begins at.
struct Block {
    line: usize,
    text: String,
}

/// The literal blocks of the page that show frames: they begin with `{`.
fn frame_blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in PAGE.lines().enumerate() {
        match (&mut open, line) {
            (None, line) if line.starts_with(".Bd -literal") => {
                open = Some(Block {
                    line: index + 2,
                    text: String::new(),
                });
            }
            (Some(_), ".Ed") => blocks.extend(open.take()),
            // A backslash is written `\e` in a man page.
            (Some(block), line) => block.text.push_str(&line.replace("\\e", "\\")),
            (None, _) => {}
        }
    }
    blocks.retain(|block| block.text.starts_with('{'));
    blocks
}

#[test]
fn every_example_of_the_page_is_a_golden_frame() {
    let all = [
        FROM_JOINER,
        TO_JOINER,
        FROM_AGENT,
        TO_AGENT,
        FROM_CLIENT,
        TO_CLIENT,
    ];
    let golden: Vec<Value> = all
        .iter()
        .flat_map(|file| file.lines())
        .map(|line| value(line.as_bytes()))
        .collect();
    let blocks = frame_blocks();
    assert!(blocks.len() > 50, "the page's examples were not found");
    for block in blocks {
        for frame in serde_json::Deserializer::from_str(&block.text).into_iter::<Value>() {
            let frame = frame.unwrap_or_else(|e| panic!("line {} of the page: {e}", block.line));
            assert!(
                golden.contains(&frame),
                "line {} of the page: no golden frame is\n{frame}",
                block.line
            );
        }
    }
}

/// The words by which frames are told apart, as they stand on the wire.
fn words(file: &str, pointer: &str) -> BTreeSet<String> {
    let word = |line: &str| {
        value(line.as_bytes())
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    file.lines().filter_map(word).collect()
}

/// Asserts that the page has an example of every word.
fn check_page(file: &str, pointer: &str) {
    let shown: Vec<Value> = frame_blocks()
        .iter()
        .flat_map(|block| {
            serde_json::Deserializer::from_str(&block.text)
                .into_iter::<Value>()
                .flatten()
                .collect::<Vec<_>>()
        })
        .collect();
    let golden: Vec<Value> = file.lines().map(|line| value(line.as_bytes())).collect();
    for word in words(file, pointer) {
        let has = |frame: &&Value| frame.pointer(pointer).and_then(Value::as_str) == Some(&word);
        let found = shown
            .iter()
            .filter(|frame| golden.contains(frame))
            .any(|frame| has(&frame));
        assert!(
            found,
            "man/ucron-protocol.7 has no example with `{word}` at {pointer}"
        );
    }
}

#[test]
fn the_page_has_an_example_of_every_message() {
    for file in [
        FROM_JOINER,
        TO_JOINER,
        FROM_AGENT,
        TO_AGENT,
        FROM_CLIENT,
        TO_CLIENT,
    ] {
        check_page(file, "/kind");
    }
    check_page(FROM_AGENT, "/events/0/event");
    check_page(FROM_CLIENT, "/ask/deed");
    check_page(TO_CLIENT, "/answer/is");
    check_page(TO_CLIENT, "/item/is");
    check_page(TO_CLIENT, "/item/body/is");
}

#[test]
fn the_page_names_every_code() {
    for file in [TO_JOINER, FROM_AGENT, TO_AGENT, TO_CLIENT] {
        for code in words(file, "/code")
            .into_iter()
            .chain(words(file, "/refusal/code"))
        {
            assert!(
                PAGE.contains(&format!(".It Li {code}")),
                "man/ucron-protocol.7 does not explain `{code}`"
            );
        }
    }
}
