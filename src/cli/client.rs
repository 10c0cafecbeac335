//! A command at work: its session, its two output streams, its stdin.

use std::ffi::OsString;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::fault::{Exit, Fault};
use super::print::Out;
use super::session::Session;
use crate::proto::request::{Answer, Request};

/// Requests of one command under way at once: enough to hide the way to the center, few enough not to crowd it.
const AT_ONCE: usize = 16;

/// Stdin of a command.
pub struct Input {
    lines: Box<dyn AsyncBufRead + Unpin + Send>,
    /// Whether somebody sits there who can be asked.
    pub is_terminal: bool,
    /// The editor that opens texts; none where there is none.
    pub editor: Option<OsString>,
    /// Whether interrupts are for the editor now.
    editing: Arc<AtomicBool>,
}

/// While it lives, interrupts do not end the command.
pub struct LeaveInterrupts(Arc<AtomicBool>);

impl Drop for LeaveInterrupts {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Input {
    /// Reads from this.
    pub fn new(lines: Box<dyn AsyncBufRead + Unpin + Send>, is_terminal: bool) -> Self {
        Self {
            lines,
            is_terminal,
            editor: None,
            editing: Arc::default(),
        }
    }

    /// With this editor.
    pub fn with_editor(mut self, editor: Option<OsString>) -> Self {
        self.editor = editor;
        self
    }

    /// Whether interrupts are for the editor now; shared with who listens for them.
    pub fn editing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.editing)
    }

    /// From now on, interrupts are for the editor.
    pub fn leave_interrupts(&self) -> LeaveInterrupts {
        self.editing.store(true, Ordering::Relaxed);
        LeaveInterrupts(Arc::clone(&self.editing))
    }

    /// The next line without its end; none at the end.
    pub async fn line(&mut self) -> Result<Option<String>, Fault> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).await;
        let read = read.map_err(|error| Fault::usage(format!("cannot read stdin: {error}")))?;
        Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// All that is said on stdin, one a line, without empty lines.
    pub async fn words(&mut self) -> Result<Vec<String>, Fault> {
        let mut words = Vec::new();
        while let Some(line) = self.line().await? {
            let word = line.trim();
            if !word.is_empty() {
                words.push(word.to_owned());
            }
        }
        Ok(words)
    }
}

/// A command at work.
pub struct Client<'a> {
    /// The center.
    pub session: Session,
    /// Stdout and stderr.
    pub out: &'a mut Out,
    /// Stdin.
    pub input: &'a mut Input,
}

impl Client<'_> {
    /// Asks one thing.
    pub async fn ask(&self, request: Request) -> Result<Answer, Fault> {
        self.session.ask(request).await
    }

    /// Asks one thing of each, several at once, and tells the answers in order. What is refused is told and
    /// does not keep the rest from being done; the worst exit wins.
    pub async fn each<T>(
        &mut self,
        things: &[T],
        request: impl Fn(&T) -> Request,
        mut tell: impl FnMut(&mut Out, &T, Answer) -> Result<Exit, Fault>,
    ) -> Result<Exit, Fault> {
        let mut exit = Exit::DONE;
        for chunk in things.chunks(AT_ONCE) {
            let pending: Vec<_> = chunk
                .iter()
                .map(|thing| self.session.begin(request(thing)))
                .collect();
            for (thing, pending) in chunk.iter().zip(pending) {
                let told = match pending.answer().await {
                    Ok(answer) => tell(self.out, thing, answer),
                    Err(fault) => Err(fault),
                };
                exit = exit.worst(match told {
                    Ok(exit) => exit,
                    Err(fault) => {
                        self.out.fault(&fault);
                        Exit::from(&fault)
                    }
                });
            }
        }
        Ok(exit)
    }

    /// `-` among the words stands for what is on stdin.
    pub async fn words(&mut self, words: &[String]) -> Result<Vec<String>, Fault> {
        let mut all = Vec::new();
        for word in words {
            match word.as_str() {
                "-" => all.extend(self.input.words().await?),
                word => all.push(word.to_owned()),
            }
        }
        Ok(all)
    }

    /// [`Input::confirm`].
    pub async fn confirm(&mut self, verb: &str, names: &[String]) -> Result<bool, Fault> {
        self.input.confirm(self.out, verb, names).await
    }
}

impl Input {
    /// Asks on a terminal whether to go on; elsewhere `--yes` is wanted.
    pub async fn confirm(
        &mut self,
        out: &mut Out,
        verb: &str,
        names: &[String],
    ) -> Result<bool, Fault> {
        let list = names.join("\n  ");
        let question = format!("{verb} these {}:\n  {list}", names.len());
        if !self.is_terminal {
            return Err(Fault::usage(format!(
                "`{verb}` of more than one, or of all, wants `--yes`; {question}"
            ))
            .hint("give `--yes` to go on"));
        }
        out.tell(&format!("{question}\ngo on? [y/N]"));
        let answer = self.line().await?.unwrap_or_default();
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

impl Client<'_> {
    /// Does to each of them what is answered with `done`, and says so.
    pub async fn done<T: Clone + Display>(
        &mut self,
        things: &[T],
        what: &str,
        request: impl Fn(T) -> Request,
    ) -> Result<Exit, Fault> {
        let ask = |thing: &T| request(thing.clone());
        self.each(things, ask, |out, thing, answer| match answer {
            Answer::Done => {
                out.say(&format!("{thing} {what}"));
                Ok(Exit::DONE)
            }
            _ => Err(Fault::unexpected("a change")),
        })
        .await
    }

    /// Whether several of them may be removed.
    pub async fn sure<T: Display>(
        &mut self,
        verb: &str,
        things: &[T],
        yes: bool,
    ) -> Result<bool, Fault> {
        if yes || things.len() < 2 {
            return Ok(true);
        }
        let names: Vec<String> = things.iter().map(ToString::to_string).collect();
        self.confirm(verb, &names).await
    }
}
