//! `status`: the fleet at a glance.

use crate::cli::args::StatusArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{Out, clean, row, time};
use crate::model::{Epoch, UnixMs};
use crate::proto::request::{Answer, Request, Status};
use crate::proto::view::{CenterView, FreezeView, StatusView};

/// `ucron status`.
pub async fn status(client: &mut Client<'_>, args: StatusArgs) -> Result<Exit, Fault> {
    let Answer::Status(view) = client.ask(Request::Status(Status {})).await? else {
        return Err(Fault::unexpected("`status`"));
    };
    if client.out.style.is_json() {
        client.out.json(&row::status(&view))?;
    } else if client.out.style.quiet {
        client.out.live(&view.center)?;
    } else {
        print(client.out, &view)?;
    }
    let wrong = args.check && !view.problems.is_empty();
    if wrong && client.out.style.quiet {
        // The others have seen them among the data.
        for problem in &view.problems {
            client.out.tell(&format!("problem: {problem}"));
        }
    }
    Ok(if wrong { Exit::NO } else { Exit::DONE })
}

fn print(out: &mut Out, view: &StatusView) -> Result<(), Fault> {
    for (title, text) in lines(view) {
        out.line(&format!("{title:9}{}", clean::line(&text)))?;
    }
    for center in &view.standbys {
        out.line(&format!(
            "{:9}{}",
            "center",
            clean::line(&other(center, view))
        ))?;
    }
    for freeze in &view.freezes {
        let text = frozen(freeze, |at| out.instant(at));
        out.line(&format!("{:9}{}", "frozen", clean::line(&text)))?;
    }
    for problem in &view.problems {
        let begun = view.conditions.iter().find(|told| told.text == *problem);
        let since = begun.map_or_else(String::new, |told| {
            let zone = &out.style.zone;
            format!(" (since {})", time::rfc3339(told.began_at, zone))
        });
        out.line(&format!("problem  {}{since}", clean::line(problem)))?;
    }
    out.flush()?;
    if is_empty(view) {
        out.say(NEXT_STEPS);
    }
    Ok(())
}

/// A group in which nothing fires; `instant` writes an instant for a reader.
fn frozen(freeze: &FreezeView, instant: impl Fn(UnixMs) -> String) -> String {
    let FreezeView {
        group, by, reason, ..
    } = freeze;
    let (from, until) = (instant(freeze.from), instant(freeze.until));
    format!("group {group} from {from} until {until}, by {by}: {reason}")
}

/// Another center than the one that answers.
fn other(center: &CenterView, view: &StatusView) -> String {
    let place = center.addresses.first().unwrap_or(&center.id);
    let role = if center.epoch > Epoch(0) && center.epoch >= view.epoch {
        format!("leader, epoch {}", center.epoch)
    } else {
        "standby".to_owned()
    };
    let age = view.now.since(center.last_seen_at);
    let heard = time::millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    format!(
        "{place} ({role}, version {}), heard {heard} ago",
        center.version
    )
}

/// How old the lease is, where it can run out.
fn lease(view: &StatusView) -> String {
    view.lease_age_ms
        .map_or_else(String::new, |age| format!(", lease renewed {age} ms ago"))
}

fn lines(view: &StatusView) -> [(&'static str, String); 6] {
    let late = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), time::millis);
    [
        (
            "center",
            format!(
                "{} ({}, epoch {}, version {}, zone {}{})",
                view.center,
                view.role,
                view.epoch,
                view.version,
                view.timezone,
                lease(view)
            ),
        ),
        ("centers", view.centers.join(", ")),
        (
            "agents",
            format!(
                "{} online, {} offline, {} draining",
                view.agents.online, view.agents.offline, view.agents.draining
            ),
        ),
        (
            "tasks",
            format!("{} on, {} stopped", view.tasks.enabled, view.tasks.stopped),
        ),
        ("running", view.running.to_string()),
        (
            "lateness",
            format!(
                "median {}, 99 % {}, worst {} (last 10 minutes)",
                late(view.lateness_ms.p50),
                late(view.lateness_ms.p99),
                late(view.lateness_ms.max)
            ),
        ),
    ]
}

fn is_empty(view: &StatusView) -> bool {
    view.agents.online + view.agents.offline + view.agents.draining == 0
        && view.tasks.enabled + view.tasks.stopped == 0
}

/// What `ucron-center init` prints too.
const NEXT_STEPS: &str = "\
the fleet is empty; next:
  1. ucron group add GROUP
  2. ucron token agent --group GROUP     give the token to the next command
  3. ucron-agent join CENTER:PORT --state DIR     on each host, then: ucron-agent run --state DIR
  4. ucron add --group GROUP --name NAME --rule '@every 10s' --user USER -- COMMAND";
