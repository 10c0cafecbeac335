//! The client home: the directory with the operator's identity and the centers' addresses. Contexts are homes
//! in it, so that one client knows several fleets.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::fault::{Fault, FaultCode};
use super::session::Centers;
use crate::proto::identity::{Identity, IdentityError, load_centers};

/// The directory of contexts in a client home.
const CONTEXTS: &str = "contexts";

/// Where the identity is, as the flags and the environment say.
pub fn directory(global: &Global) -> Result<PathBuf, Fault> {
    let home = match &global.home {
        Some(home) if home.as_os_str().is_empty() => {
            return Err(Fault::usage("the client home is an empty path").hint("give `--home DIR`"));
        }
        Some(home) => home.clone(),
        None => default_home()?,
    };
    Ok(match &global.context {
        Some(context) => home.join(CONTEXTS).join(context),
        None => home,
    })
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
pub fn load(dir: &Path) -> Result<Centers, Fault> {
    if !Identity::exists(dir) {
        let text = format!("no client home in `{}`", dir.display());
        return Err(Fault::new(FaultCode::Identity, text).hint(
            "log in with `ucron login CENTER:PORT`, or name a home with `--home DIR` or UCRON_HOME",
        ));
    }
    let identity = Identity::load(dir).map_err(|error| unusable(&error))?;
    let addresses = load_centers(dir).map_err(|error| unusable(&error.into()))?;
    Centers::new(&identity, addresses)
}

/// An identity that cannot be used.
pub fn unusable(error: &IdentityError) -> Fault {
    Fault::new(FaultCode::Identity, error.to_string())
}
