//! Settings of the three programs: flags over `UCRON_*` over `DIR/{center,agent,keeper}.toml` over
//! `/etc/ucron/*.toml`. Every value is checked where it stands; an unknown key is an error with its place.
//! A program reads them again on HUP by loading them again.

mod logs;
mod settings;
mod values;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::de::DeTable;

pub use logs::{LogFormat, LogLevel, init_logs};
pub use settings::{AgentSettings, CenterSettings, KeeperSettings, StoreTls, TreeKind};
pub use values::Bytes;

/// Where a packaged installation keeps its settings.
const SYSTEM_DIR: &str = "/etc/ucron";

/// A settings file of the whole host.
pub fn system_file(name: &str) -> PathBuf {
    Path::new(SYSTEM_DIR).join(name)
}

/// What one program can be told.
pub trait Settings: DeserializeOwned + Default {
    /// The file's name.
    const FILE: &'static str;
    /// Every key, for the environment; [`Settings::load`] finds the rest by reading.
    const KEYS: &'static [&'static str];

    /// Says what does not fit together, one sentence each.
    fn misfits(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads all layers. `flags` are (key, value) as in a file, lists with commas.
    fn load(dir: &Path, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let files = [system_file(Self::FILE), dir.join(Self::FILE)];
        read_layers(&files, |name| std::env::var_os(name), flags)
    }

    /// Reads all layers but the state directory's file, for a program that does not believe who owns that.
    fn load_system(flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let files = [system_file(Self::FILE)];
        read_layers(&files, |name| std::env::var_os(name), flags)
    }
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is wrong in a file, all of it.
    #[error("{}", joined(.0))]
    File(Vec<FileFault>),
    /// A flag or a variable of the environment.
    #[error("{source_name}: {message}")]
    Value {
        /// `--key` or `UCRON_KEY`.
        source_name: String,
        /// What is wrong with its value.
        message: String,
    },
    /// Values that do not fit together.
    #[error("{}", .0.join("\n"))]
    Misfit(Vec<String>),
}

fn joined(faults: &[FileFault]) -> String {
    let texts: Vec<_> = faults.iter().map(FileFault::to_string).collect();
    texts.join("\n")
}

/// One thing wrong in a file: shown as `path:line:col: message`, the line, a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    path: PathBuf,
    line: usize,
    column: usize,
    text: String,
    message: String,
}

impl FileFault {
    fn new(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        Self::at(path, text, at, error.message())
    }

    /// This is wrong in a file with this text, at this byte of it.
    pub fn at(path: &Path, text: &str, at: usize, message: &str) -> Self {
        let at = at.min(text.len());
        let at = (0..=at).rev().find(|i| text.is_char_boundary(*i));
        let before = &text[..at.unwrap_or(0)];
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text: text[start..].lines().next().unwrap_or("").to_owned(),
            message: message.lines().collect::<Vec<_>>().join(" "),
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = self;
        writeln!(
            f,
            "{}:{line}:{column}: {}",
            self.path.display(),
            self.message
        )?;
        writeln!(f, "  {}", self.text)?;
        let indent = self.text.chars().take(column - 1);
        let indent: String = indent.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "  {indent}^")
    }
}

fn read_layers<S: Settings, V: AsRef<OsStr>>(
    files: &[PathBuf],
    env: impl Fn(&str) -> Option<V>,
    flags: &[(&str, String)],
) -> Result<S, ConfigError> {
    let mut merged = toml::Table::new();
    for path in files {
        match std::fs::read_to_string(path) {
            Ok(text) => merged.extend(read_file::<S>(path, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let path = path.clone();
                return Err(ConfigError::Read { path, source });
            }
        }
    }
    for key in S::KEYS {
        let name = format!("UCRON_{}", key.to_uppercase());
        if let Some(value) = env(&name) {
            let value = value.as_ref().to_string_lossy().into_owned();
            merged.extend(read_value::<S>(&name, key, value)?);
        }
    }
    for (key, value) in flags {
        let name = format!("--{}", key.replace('_', "-"));
        merged.extend(read_value::<S>(&name, key, value.clone())?);
    }
    let settings: S = merged.try_into().map_err(|error: toml::de::Error| {
        // Every part was read before; what is left could only be parts against each other.
        ConfigError::Misfit(vec![error.message().to_owned()])
    })?;
    match settings.misfits() {
        misfits if misfits.is_empty() => Ok(settings),
        misfits => Err(ConfigError::Misfit(misfits)),
    }
}

/// Reads one file; collects every error in it.
fn read_file<S: Settings>(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut errors: Vec<_> = errors.into_iter().collect();
    if errors.is_empty() {
        // Key by key, so that one wrong value does not hide the next.
        for (key, value) in table.get_ref() {
            let alone = DeTable::from_iter([(key.clone(), value.clone())]);
            let alone = toml::Spanned::new(value.span(), alone);
            errors.extend(S::deserialize(toml::de::Deserializer::from(alone)).err());
        }
    }
    if !errors.is_empty() {
        let faults = errors.iter().map(|e| FileFault::new(path, text, e));
        let mut faults: Vec<_> = faults.collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        return Err(ConfigError::File(faults));
    }
    toml::from_str(text).map_err(|e| ConfigError::File(vec![FileFault::new(path, text, &e)]))
}

fn read_value<S: Settings>(
    source_name: &str,
    key: &str,
    value: String,
) -> Result<toml::Table, ConfigError> {
    let table = toml::Table::from_iter([(key.to_owned(), toml::Value::String(value))]);
    match table.clone().try_into::<S>() {
        Ok(_) => Ok(table),
        Err(error) => Err(ConfigError::Value {
            source_name: source_name.to_owned(),
            message: error.message().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read<S: Settings>(
        texts: &[&str],
        env: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<S, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        let write = |(i, text): (usize, &&str)| {
            let path = home.path().join(i.to_string());
            std::fs::write(&path, text).unwrap();
            path
        };
        let files: Vec<_> = texts.iter().enumerate().map(write).collect();
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let flags: Vec<_> = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        read_layers(&files, env, &flags)
    }

    fn check_fault(text: &str, wanted: &str) {
        let error = read_file::<CenterSettings>(Path::new("c.toml"), text).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{text}");
    }

    #[test]
    fn each_layer_beats_those_below() {
        let low = "lead = \"20s\"\nheartbeat = \"1s\"\nlog = \"warn\"";
        let high = "heartbeat = \"2s\"";
        let env = [("UCRON_LOG", "debug"), ("UCRON_LISTEN", "a:1, b:2")];
        let got: CenterSettings =
            read(&[low, high], &env, &[("listen", "c:3"), ("lead", "30s")]).unwrap();
        assert_eq!(got.lead, Duration::from_secs(30));
        assert_eq!(got.heartbeat, Duration::from_secs(2));
        assert_eq!(got.log, LogLevel::Debug);
        assert_eq!(got.listen, ["c:3"]);
        let got: CenterSettings = read(&[], &env, &[]).unwrap();
        assert_eq!(got.listen, ["a:1", "b:2"]);
    }

    #[test]
    fn an_error_in_a_file_shows_its_place() {
        check_fault(
            "log = \"info\"\n  laed = \"10s\"\n",
            "c.toml:2:3: unknown field `laed`, expected one of `listen`, `store`, `store_password_file`, \
             `store_password_env`, `store_tls`, `store_ca`, `timezone`, `lead`, `heartbeat`, `lease`, `history`, `history_runs`, `history_failures`, `max_frame`, `log`, `log_format`\n    laed = \"10s\"\n    ^",
        );
        let error = read_file::<CenterSettings>(
            Path::new("c.toml"),
            "lead = \"x\"\nwhat = 1\nlisten = [1]\n",
        );
        let text = error.unwrap_err().to_string();
        for place in ["c.toml:1:8: ", "c.toml:2:1: unknown", "c.toml:3:11: "] {
            assert!(text.contains(place), "{place}: {text}");
        }
        let error = read_file::<CenterSettings>(Path::new("c.toml"), "lead = [\n");
        assert!(error.unwrap_err().to_string().starts_with("c.toml:"));
    }

    #[test]
    fn an_error_in_a_flag_or_variable_names_it() {
        let error = read::<CenterSettings>(&[], &[("UCRON_LOG", "loud")], &[]).unwrap_err();
        assert!(error.to_string().starts_with("UCRON_LOG: "), "{error}");
        let error = read::<CenterSettings>(&[], &[], &[("max_frame", "much")]).unwrap_err();
        assert!(error.to_string().starts_with("--max-frame: "), "{error}");
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused() {
        let error = read::<CenterSettings>(&["lead = \"8s\""], &[], &[]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("three heartbeats") && text.contains("half of `lead`"),
            "{text}"
        );
    }

    fn check_sample<S: Settings + PartialEq + std::fmt::Debug>(text: &str) {
        let read: S = read(&[text], &[], &[]).unwrap();
        assert_eq!(read, S::default());
        assert!(read.misfits().is_empty());
        let fields = S::KEYS.iter().map(|key| format!("`{key}`"));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let unknown = toml::from_str::<S>("zzz = 1").err().unwrap();
        assert!(
            unknown
                .message()
                .ends_with(&format!("expected one of {fields}"))
        );
        for key in S::KEYS {
            let shown = text.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = "))
            });
            assert!(shown, "the sample shows `{key}`");
        }
    }

    #[test]
    fn the_samples_are_the_defaults_and_show_every_key() {
        check_sample::<CenterSettings>(include_str!("../config/center.toml"));
        check_sample::<AgentSettings>(include_str!("../config/agent.toml"));
        check_sample::<KeeperSettings>(include_str!("../config/keeper.toml"));
    }
}
