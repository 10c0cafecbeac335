//! `events`: what happens, one line each: `TIME EVENT TASK AGENT OUTCOME …`, `-` where there is none.

use crate::cli::args::EventsArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{clean, row, time};
use crate::proto::request::{Events, Item, Request};
use crate::proto::view::EventView;
use crate::rule::Zone;

/// `ucron events`. While it follows, a link that broke is dialled again and the stream goes on where it was.
pub async fn events(client: &mut Client<'_>, args: EventsArgs) -> Result<Exit, Fault> {
    let mut since = args.since;
    let mut breaks = 0;
    loop {
        let request = Events {
            since: since.clone(),
            follow: args.follow,
        };
        let mut stream = client.session.stream(Request::Events(request));
        loop {
            match stream.next().await {
                None => return Ok(Exit::DONE),
                Some(Ok(Item::Event(event))) => {
                    print(client, &event)?;
                    since = Some(event.cursor);
                    breaks = 0;
                }
                Some(Ok(Item::Log(_) | Item::Change(_))) => {
                    return Err(Fault::unexpected("`events`"));
                }
                Some(Err(fault)) if args.follow && fault.may_go_on(breaks) => {
                    breaks += 1;
                    client.out.say(&going_on(&fault, since.is_some()));
                    break;
                }
                Some(Err(fault)) => return Err(fault),
            }
        }
    }
}

/// Nothing is lost where a cursor says from where to go on.
fn going_on(fault: &Fault, has_cursor: bool) -> String {
    let from = if has_cursor {
        "where it was"
    } else {
        "from now on"
    };
    format!("{}; going on {from}", fault.message)
}

fn print(client: &mut Client<'_>, event: &EventView) -> Result<(), Fault> {
    if client.out.style.quiet {
        return client.out.live(&event.cursor);
    }
    if client.out.style.is_json() {
        return client.out.json(&row::event(event));
    }
    let line = line(event, &client.out.style.zone);
    client.out.live(&line)
}

/// An event as one line, without an end.
pub fn line(event: &EventView, zone: &Zone) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut words = vec![
        rfc3339_ms(event, zone),
        event.event.clone(),
        or_none(event.task.as_ref().map(ToString::to_string)),
        or_none(event.agent.as_ref().map(ToString::to_string)),
        or_none(event.outcome.as_ref().map(ToString::to_string)),
    ];
    words.extend(
        event
            .late_ms
            .map(|late| format!("late={}", time::millis(late))),
    );
    words.extend(
        event
            .run_id
            .as_ref()
            .map(|run| format!("run={}", run.short())),
    );
    words.extend(event.slot.map(|slot| format!("slot={slot}")));
    words.extend(
        event
            .condition
            .map(|condition| format!("condition={condition}")),
    );
    words.extend(
        event
            .operator
            .as_ref()
            .map(|operator| format!("by={operator}")),
    );
    if !event.reason.is_empty() {
        words.push(event.reason.clone());
    }
    clean::line(&words.join(" "))
}

/// Always with milliseconds, so that the lines stand in columns.
fn rfc3339_ms(event: &EventView, zone: &Zone) -> String {
    let whole = crate::rule::UnixMs(event.at.0 - event.at.0.rem_euclid(1000));
    let text = time::rfc3339(whole, zone);
    let (head, offset) = text.split_at(text.len() - 6);
    format!("{head}.{:03}{offset}", event.at.0.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake;

    #[test]
    fn an_event_is_one_line_of_words() {
        let mut event = fake::event();
        assert_eq!(
            line(&event, &Zone::utc()),
            "2026-11-22T16:50:00.003+00:00 run_ended web/probe a1 failed late=3ms run=zzzzzzzz slot=0 exit code 3"
        );
        event.task = None;
        event.outcome = None;
        event.late_ms = None;
        event.run_id = None;
        event.slot = None;
        event.condition = Some(crate::model::ConditionKind::TooLong);
        event.reason = "evil\u{1b}[2J\ntext".to_owned();
        assert_eq!(
            line(&event, &Zone::utc()),
            "2026-11-22T16:50:00.003+00:00 run_ended - a1 - condition=too_long evil[2J text"
        );
    }
}
