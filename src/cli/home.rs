//! The client home: the directory with the operator's identity and the centers' addresses. Contexts are homes
//! in it, so that one client knows several fleets.

use std::path::{Path, PathBuf};

use super::args::{Global, value};
use super::fault::{Fault, FaultCode};
use super::session::Centers;
use crate::files::{read_private, write_private};
use crate::proto::identity::{Identity, IdentityError, load_centers};

/// The directory of contexts in a client home.
const CONTEXTS: &str = "contexts";
/// The file that names the context in use.
const IN_USE: &str = "context";
/// What the client home itself is called among its contexts.
pub const DEFAULT: &str = "default";

/// The client home, as the flags and the environment say.
pub fn root(global: &Global) -> Result<PathBuf, Fault> {
    match &global.home {
        Some(home) if home.as_os_str().is_empty() => {
            Err(Fault::usage("the client home is an empty path").hint("give `--home DIR`"))
        }
        Some(home) => Ok(home.clone()),
        None => default_home(),
    }
}

/// The name of the context that is meant: by the flag, else the one in use.
pub fn context(global: &Global, root: &Path) -> Result<String, Fault> {
    match &global.context {
        Some(context) => Ok(context.clone()),
        None => Ok(context_in_use(root)?.unwrap_or_else(|| DEFAULT.to_owned())),
    }
}

/// What `ucron context use` chose last, if it is still so.
pub fn context_in_use(root: &Path) -> Result<Option<String>, Fault> {
    let path = root.join(IN_USE);
    let text = match read_private(&path) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(unusable(&error.into())),
    };
    let name = value::context(text.trim()).map_err(|why| {
        let text = format!("`{}` names no context: {why}", path.display());
        Fault::new(FaultCode::Identity, text).hint("choose one with `ucron context use NAME`")
    })?;
    Ok(Some(name))
}

/// Chooses a context for what comes.
pub fn choose(root: &Path, name: &str) -> Result<(), Fault> {
    if name == DEFAULT {
        return forget_choice(root);
    }
    write_private(&root.join(IN_USE), format!("{name}\n").as_bytes())
        .map_err(|error| unusable(&error.into()))
}

/// From now on the client home itself is in use.
pub fn forget_choice(root: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(root.join(IN_USE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let text = format!("cannot forget the context in use: {error}");
            Err(Fault::new(FaultCode::Failed, text))
        }
        _ => Ok(()),
    }
}

/// Where a context's identity is.
pub fn place(root: &Path, context: &str) -> PathBuf {
    match context {
        DEFAULT => root.to_owned(),
        name => root.join(CONTEXTS).join(name),
    }
}

/// The contexts that hold an identity, by name, the client home itself first.
pub fn contexts(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(CONTEXTS));
    let names = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| value::context(entry.file_name().to_str()?).ok())
        .filter(|name| name != DEFAULT && Identity::exists(&place(root, name)))
        .collect();
    names.sort_unstable();
    if Identity::exists(root) {
        names.insert(0, DEFAULT.to_owned());
    }
    names
}

/// Where the identity is, or will be, as the flags and the environment say.
pub fn directory(global: &Global) -> Result<PathBuf, Fault> {
    let root = root(global)?;
    Ok(place(&root, &context(global, &root)?))
}

/// Where the identity is, as the flags and the environment say; it is there.
pub fn existing(global: &Global) -> Result<PathBuf, Fault> {
    let root = root(global)?;
    let name = context(global, &root)?;
    check(&root, &name)?;
    Ok(place(&root, &name))
}

/// Refuses a context that is not there.
pub fn check(root: &Path, name: &str) -> Result<(), Fault> {
    if Identity::exists(&place(root, name)) {
        return Ok(());
    }
    let known = contexts(root);
    if name == DEFAULT && known.is_empty() {
        let text = format!("no client home in `{}`", root.display());
        return Err(Fault::new(FaultCode::Identity, text).hint(
            "log in with `ucron login CENTER:PORT`, or name a home with `--home DIR` or UCRON_HOME",
        ));
    }
    let known = match known.as_slice() {
        [] => "it has none".to_owned(),
        names => format!("it has {}", names.join(", ")),
    };
    let text = format!("no context `{name}` in `{}`; {known}", root.display());
    let hint = match name {
        DEFAULT => {
            "name one with `--context NAME`, or choose one with `ucron context use NAME`".to_owned()
        }
        name => format!(
            "`ucron login CENTER:PORT --context {name}` adds it; `ucron context use NAME` chooses another"
        ),
    };
    Err(Fault::new(FaultCode::NotFound, text).hint(hint))
}

fn default_home() -> Result<PathBuf, Fault> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("ucron"))
        .ok_or_else(|| {
            Fault::new(
                FaultCode::Identity,
                "there is no client home: HOME is not set",
            )
            .hint("give `--home DIR` or set UCRON_HOME")
        })
}

/// Reads the home for dialling.
pub fn load(global: &Global) -> Result<Centers, Fault> {
    load_dir(&existing(global)?)
}

/// Reads the identity in this directory for dialling.
pub fn load_dir(dir: &Path) -> Result<Centers, Fault> {
    let identity = Identity::load(dir).map_err(|error| unusable(&error))?;
    let addresses = load_centers(dir).map_err(|error| unusable(&error.into()))?;
    Ok(Centers::new(&identity, addresses)?.kept_in(dir))
}

/// An identity that cannot be used.
pub fn unusable(error: &IdentityError) -> Fault {
    Fault::new(FaultCode::Identity, error.to_string())
}
