//! Joining: the one exchange without a client certificate. A token and a certificate request go up, the
//! signed certificate comes down; the key stays where it was made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::handshake::dial;
use super::hello::{ErrorFrame, PROTOCOL, PROTOCOL_MIN, PeerRole};
use super::identity::{CertificateFault, Identity, IdentityError, PrivateKey};
use super::link::{Bounds, Link, LinkFault};
use super::tls::{join_config, presented};
use crate::model::{AgentName, Fingerprint, Token};

/// The only frame that a peer without a certificate may send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromJoiner {
    /// Asks for a certificate.
    Join(Join),
}

/// What a joiner says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The oldest protocol version spoken.
    pub protocol_min: u32,
    /// The newest protocol version spoken.
    pub protocol_max: u32,
    /// What it wants to be; must be what the token is for.
    pub role: PeerRole,
    /// The whole token as the operator gave it.
    pub token: String,
    /// The certificate request, PEM.
    pub request: String,
    /// Agents: the name wished for.
    pub name: Option<AgentName>,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Join {{ role: {:?}, name: {:?}, .. }}",
            self.role, self.name
        )
    }
}

/// The center's answer to a join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToJoiner {
    /// The certificate.
    Joined(Joined),
    /// Refused; the link is closed.
    Error(ErrorFrame),
}

/// A certificate given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The fleet's id.
    pub fleet: String,
    /// The agent's or operator's name.
    pub name: String,
    /// The signed certificate, PEM.
    pub certificate: String,
    /// All centers' addresses, `ADDR:PORT`.
    pub centers: Vec<String>,
}

/// Why joining failed.
#[derive(Debug, Error)]
pub enum JoinFault {
    /// The token is for something else.
    #[error("this token is for {found}, not for {wanted}")]
    Role {
        /// What it is for.
        found: &'static str,
        /// What was to be joined.
        wanted: &'static str,
    },
    /// The center could not be reached, is not the right one, or refused.
    #[error("cannot join at `{center}`: {fault}")]
    Link {
        /// The center's address.
        center: String,
        /// What happened.
        fault: LinkFault,
    },
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] IdentityError),
    /// The center's certificate for us is not what was asked for.
    #[error("the center gave a certificate that cannot be used: {0}")]
    Certificate(#[from] CertificateFault),
    /// The certificate given is of another fleet or role.
    #[error("the center gave a certificate of another fleet or role")]
    OtherName,
}

/// Joins a fleet: makes a key, has it signed, checks what comes back. The center is believed only if its chain has
/// the authority whose fingerprint the token carries. Stores nothing.
pub async fn join(
    center: &str,
    token: &Token,
    role: PeerRole,
    name: Option<AgentName>,
) -> Result<(Identity, Joined), JoinFault> {
    if token.role() != role {
        return Err(JoinFault::Role {
            found: words(token.role()),
            wanted: words(role),
        });
    }
    let key = PrivateKey::make()?;
    let join = Join {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL,
        role,
        token: token.text(),
        request: key.request()?,
        name,
    };
    let asked = ask(center, join, token.pin()).await;
    let (joined, authority) = asked.map_err(|fault| JoinFault::Link {
        center: center.to_owned(),
        fault,
    })?;
    let identity = Identity::new(key, &joined.certificate, &authority)?;
    let uri = identity.uri();
    if uri.role != role || uri.fleet.as_str() != joined.fleet {
        return Err(JoinFault::OtherName);
    }
    Ok((identity, joined))
}

fn words(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Center => "a center",
        PeerRole::Agent => "an agent (`ucron-agent join`)",
        PeerRole::Operator => "an operator (`ucron login`)",
    }
}

/// The exchange; gives the answer and the pinned authority's certificate, PEM.
async fn ask(center: &str, join: Join, pin: Fingerprint) -> Result<(Joined, String), LinkFault> {
    let dialled = dial(center, &join_config(pin)?).await?;
    let authority = presented(dialled.stream.get_ref().1, pin).ok_or(LinkFault::Closed)?;
    let mut link = Link::new(dialled.stream, Bounds::default());
    let exchange = async {
        link.send(&FromJoiner::Join(join)).await?;
        match link.next().await? {
            Some(ToJoiner::Joined(joined)) => Ok(joined),
            Some(ToJoiner::Error(frame)) => Err(LinkFault::Told(frame)),
            None => Err(LinkFault::Closed),
        }
    };
    let joined = tokio::time::timeout_at(dialled.deadline, exchange)
        .await
        .map_err(|_elapsed| LinkFault::Timeout("no answer to the join"))??;
    link.close(None).await;
    Ok((joined, pem(&authority)))
}

/// A certificate as PEM (RFC 7468: lines of 64 characters).
fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
