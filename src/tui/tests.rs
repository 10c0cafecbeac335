//! What every view and dialog looks like at 80×24 and 200×50, with and without colours, against files that
//! `UCRON_UPDATE_SNAPSHOTS=1 cargo test` writes anew; and that no size at all is too small.

use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::fixture::{self, NOW, press, state, type_in};
use super::state::{Overlay, State};
use super::update::{Effect, Input, update};
use super::view::{Theme, draw};
use crate::model::{RunId, Slot};
use crate::proto::request::Answer;
use crate::proto::view::LogView;

/// A name, and the keys that lead there.
type Scene = (&'static str, fn(&mut State));

/// The views and dialogs, each with how one gets there.
const SCENES: &[Scene] = &[
    ("overview", |_| {}),
    ("tasks", |state| drop(press(state, &["2", "j"]))),
    ("runs", |state| drop(press(state, &["3", "j", "Space"]))),
    ("agents", |state| drop(press(state, &["4"]))),
    ("failures", |state| drop(press(state, &["5", "j"]))),
    ("events", |state| drop(press(state, &["6"]))),
    ("task", |state| drop(press(state, &["2", "G", "Enter"]))),
    ("run", open_run),
    ("agent", |state| drop(press(state, &["4", "j", "Enter"]))),
    ("group", |state| drop(press(state, &["Enter"]))),
    ("causes", |state| drop(press(state, &["5", "Enter"]))),
    ("why", |state| drop(press(state, &["2", "w"]))),
    ("help", |state| drop(press(state, &["?"]))),
    ("filter", |state| {
        press(state, &["2", "/"]);
        type_in(state, "web");
    }),
    ("command", |state| {
        press(state, &[":"]);
        type_in(state, "agents --utc");
    }),
    ("said", |state| {
        let lines = vec![
            "AGENT  STATE".to_owned(),
            format!("a1 {}", fixture::HOSTILE),
        ];
        update(state, NOW, Input::Said(":agents".to_owned(), lines, 0));
    }),
    ("stop", |state| drop(press(state, &["2", "G", "s"]))),
    ("delete", |state| {
        drop(press(state, &["2", "Space", "Space", "d"]));
    }),
    ("kill", |state| drop(press(state, &["3", "j", "x"]))),
    ("add", |state| {
        press(state, &["a"]);
        type_in(state, "w");
        press(state, &["Tab", "Enter"]);
        type_in(state, "备份");
        press(state, &["Enter"]);
        type_in(state, "*/10 8-18 * * mon-fri");
    }),
    ("add_refused", |state| {
        press(state, &["a", "Enter", "Enter"]);
        type_in(state, "61 * * * *");
        press(state, &["C-s"]);
    }),
    ("edit", |state| drop(press(state, &["2", "G", "e"]))),
    ("logs", open_logs),
    ("lost", |state| {
        let why = "10.0.0.9:9502: connection refused".to_owned();
        update(
            state,
            crate::model::UnixMs(NOW.0 - 12_000),
            Input::Lost(1, why.clone()),
        );
        update(state, NOW, Input::Lost(4, why));
    }),
    ("empty", |state| {
        *state = State::new(state.size, state.zone.clone());
        let status = crate::proto::view::StatusView {
            agents: crate::proto::view::AgentCounts::default(),
            tasks: crate::proto::view::TaskCounts::default(),
            problems: Vec::new(),
            conditions: Vec::new(),
            freezes: Vec::new(),
            ..fixture::status()
        };
        for change in [
            crate::proto::request::Change::Status(Box::new(status)),
            crate::proto::request::Change::Complete,
        ] {
            update(state, NOW, Input::Change(Box::new(change)));
        }
    }),
];

fn open_run(state: &mut State) {
    press(state, &["3", "G"]);
    let effects = press(state, &["Enter"]);
    let Some(Effect::Ask(ticket, _)) = effects.into_iter().next() else {
        panic!("the run is asked for");
    };
    let run = state.fleet.runs.newest_first().last().unwrap().clone();
    let answer = Box::new(Ok(Answer::Run(Box::new(run))));
    update(state, NOW, Input::Answer(ticket, answer));
}

fn open_logs(state: &mut State) {
    press(state, &["2", "G", "l"]);
    let Some(Overlay::Log(pane)) = state.overlays.last() else {
        panic!("the output is open");
    };
    let stream = pane.stream;
    for (agent, text) in [
        ("a1", "one line\nand another with an error in it\n"),
        ("a2", "\u{1b}[31mred\u{1b}[0m 备份 \u{1b}]0;owned\u{7}\t|\n"),
    ] {
        let chunk = LogView {
            run_id: RunId::hash(b"r"),
            agent: agent.parse().unwrap(),
            slot: Slot(0),
            attempt: 1,
            offset: 0,
            at: None,
            data: BASE64.encode(text),
        };
        update(state, NOW, Input::Log(stream, chunk));
    }
    press(state, &["/"]);
    type_in(state, "error");
    press(state, &["Enter"]);
}

fn drawn(state: &State, has_colors: bool) -> Buffer {
    let (width, height) = state.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(state, NOW, Theme { has_colors }, &mut buffer);
    buffer
}

/// The characters, then which cells look how.
fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    let mut styles = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            if skip > 0 {
                skip -= 1;
            } else {
                line.push_str(cell.symbol());
                skip = super::text::width(cell.symbol()).saturating_sub(1);
            }
            let look = look(cell);
            match runs.last_mut() {
                Some((_, end, last)) if *last == look && *end + 1 == x => *end = x,
                _ => runs.push((x, x, look)),
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
        for (from, to, look) in runs.iter().filter(|(_, _, look)| !look.is_empty()) {
            let _ = writeln!(styles, "{y}:{from}-{to}{look}");
        }
    }
    format!("{text}\n{styles}")
}

fn look(cell: &ratatui::buffer::Cell) -> String {
    use ratatui::style::Color;
    assert_eq!(cell.bg, Color::Reset, "no background is ever set");
    let mut look = String::new();
    if cell.fg != Color::Reset {
        let _ = write!(look, " {}", cell.fg);
    }
    if !cell.modifier.is_empty() {
        let _ = write!(look, " {:?}", cell.modifier);
    }
    look
}

fn check(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots/tui")
        .join(format!("{name}.txt"));
    if std::env::var_os("UCRON_UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, got).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wanted == got,
        "{name} looks otherwise than {}; UCRON_UPDATE_SNAPSHOTS=1 writes it anew:\n{got}",
        path.display()
    );
}

#[test]
fn every_view_and_dialog_looks_as_kept() {
    for (width, height) in [(80, 24), (200, 50)] {
        for (name, go) in SCENES {
            let mut state = state(width, height);
            go(&mut state);
            check(
                &format!("{name}-{width}x{height}"),
                &text_of(&drawn(&state, true)),
            );
            check(
                &format!("{name}-{width}x{height}-no-color"),
                &text_of(&drawn(&state, false)),
            );
        }
    }
}

#[test]
fn without_colors_no_color_is_used() {
    for (name, go) in SCENES {
        let mut state = state(80, 24);
        go(&mut state);
        for cell in &drawn(&state, false).content {
            assert_eq!(cell.fg, ratatui::style::Color::Reset, "{name}");
        }
    }
}

#[test]
fn nothing_that_others_wrote_reaches_the_terminal_as_a_control_character() {
    for (name, go) in SCENES {
        let mut state = state(200, 50);
        go(&mut state);
        for cell in &drawn(&state, true).content {
            let is_bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(
                !cell.symbol().chars().any(is_bad),
                "{name}: {:?}",
                cell.symbol()
            );
        }
    }
}

/// The largest terminal that every size up to is tried of.
const LARGEST: (u16, u16) = (200, 60);

/// Every size up to the largest, from 1×1.
fn all_sizes() -> impl Iterator<Item = (u16, u16)> {
    (1..=LARGEST.0).flat_map(|width| (1..=LARGEST.1).map(move |height| (width, height)))
}

/// Draws a scene in these sizes; a panic names the size in which it was.
fn draws_in(name: &str, go: fn(&mut State), sizes: impl Iterator<Item = (u16, u16)>) {
    let mut state = state(80, 24);
    go(&mut state);
    for (width, height) in sizes {
        let drawing = std::panic::AssertUnwindSafe(|| {
            update(&mut state, NOW, Input::Resize(width, height));
            drawn(&state, true);
        });
        let done = std::panic::catch_unwind(drawing);
        assert!(done.is_ok(), "{name} cannot be drawn in {width}×{height}");
    }
}

/// Carries the parts out at the same time.
fn at_once(parts: Vec<Box<dyn Fn() + Send>>) {
    std::thread::scope(|scope| {
        for part in parts {
            scope.spawn(part);
        }
    });
}

#[test]
fn the_overview_is_drawn_in_every_size() {
    let part = |at: usize| -> Box<dyn Fn() + Send> {
        Box::new(move || draws_in("overview", |_| {}, all_sizes().skip(at).step_by(4)))
    };
    at_once((0..4).map(part).collect());
}

/// All small sizes, in which something has no room, and every 37th of the others: 37 divides neither side, so that
/// each width and each height is among them.
#[test]
fn every_view_and_dialog_is_drawn_in_sizes_of_all_kinds() {
    let is_small = |(width, height): &(u16, u16)| *width <= 24 && *height <= 12;
    let part = |chunk: &'static [Scene]| -> Box<dyn Fn() + Send> {
        Box::new(move || {
            for (name, go) in chunk {
                let small = all_sizes().filter(is_small);
                let large = all_sizes().filter(|size| !is_small(size)).step_by(37);
                draws_in(name, *go, small.chain(large).chain([LARGEST]));
            }
        })
    };
    at_once(SCENES.chunks(SCENES.len().div_ceil(4)).map(part).collect());
}

#[test]
fn at_80x24_the_overview_has_all_parts_with_three_rows_and_names_uncut() {
    let text = text_of(&drawn(&state(80, 24), true));
    let lines: Vec<&str> = text.lines().collect();
    let titles: Vec<usize> = [
        "agents by group",
        "running",
        "next",
        "recent failures",
        "last runs",
    ]
    .iter()
    .map(|title| {
        let starts = |line: &&str| line.starts_with("── ") && line.contains(title);
        lines
            .iter()
            .position(starts)
            .unwrap_or_else(|| panic!("no `{title}`"))
    })
    .collect();
    for pair in titles.windows(2) {
        assert!(pair[1] - pair[0] >= 4, "{titles:?}");
    }
    assert!(22 - titles[4] >= 4, "{titles:?}");
    assert!(text.contains("abcdefghijklmnopqrstuvwx"), "{text}");
}

#[test]
fn the_help_has_every_key_at_80x24() {
    let mut state = state(80, 24);
    press(&mut state, &["?"]);
    let text = text_of(&drawn(&state, false));
    for row in super::keys::TABLE {
        assert!(text.contains(row.help), "`{}` is missing", row.help);
    }
}
