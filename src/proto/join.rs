//! Joining: the one exchange without a client certificate. A token and a certificate request go up, the
//! signed certificate comes down; the key stays where it was made.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::handshake::{Accepted, dial};
use super::hello::{ErrorFrame, LinkError, PROTOCOL, PROTOCOL_MIN, PeerRole};
use super::identity::{CertificateFault, Identity, IdentityError, PrivateKey};
use super::link::{Bounds, Link, LinkFault};
use super::tls::{TlsError, join_config, presented, wait_config};
use crate::model::{AgentName, Fingerprint, Token};

/// The only frames that a peer without a certificate may send: a stranger the first, once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromJoiner {
    /// Asks for a certificate.
    Join(Join),
    /// The certificate is on disk: said by a host that waited for its center, which then tells the operator.
    Stored(Stored),
}

/// Nothing more to say.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {}

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
    /// Centers: the certificate authority, key and certificate, PEM. Nobody else gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityPem>,
}

/// A certificate authority under way to a center that joins. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthorityPem(pub String);

impl std::fmt::Debug for AuthorityPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthorityPem(..)")
    }
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
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The center's certificate for us is not what was asked for.
    #[error("the center gave a certificate that cannot be used: {0}")]
    Certificate(#[from] CertificateFault),
    /// The certificate given is of another fleet or role.
    #[error("the center gave a certificate of another fleet or role")]
    OtherName,
}

impl JoinFault {
    /// Why a center that does not lead (yet) sent us away; the token is not used up by that.
    pub fn sent_away(&self) -> Option<&str> {
        match self {
            Self::Link {
                fault: LinkFault::Told(frame),
                ..
            } if frame.code == LinkError::Closing => Some(&frame.message),
            _ => None,
        }
    }
}

/// Joins a fleet: makes a key, has it signed, checks what comes back. The center is believed only if its chain has
/// the authority whose fingerprint the token carries. Stores nothing.
pub async fn join(
    center: &str,
    token: &Token,
    role: PeerRole,
    name: Option<AgentName>,
) -> Result<(Identity, Joined), JoinFault> {
    let applicant = Applicant::new(token, role, name)?;
    let given = applicant.dial(center).await;
    let given = given.map_err(|fault| JoinFault::Link {
        center: center.to_owned(),
        fault,
    })?;
    let (identity, joined, link) = applicant.accept(given)?;
    link.close(None).await;
    Ok((identity, joined))
}

/// Somebody who wants to become a member: a new key, and the token that speaks for it.
#[derive(Debug)]
pub struct Applicant {
    key: PrivateKey,
    join: Join,
    pin: Fingerprint,
}

/// What a center gave to an applicant, not looked at yet.
#[derive(Debug)]
pub struct Given {
    joined: Joined,
    /// The pinned authority's certificate, PEM.
    authority: String,
    link: Link<FromJoiner, ToJoiner>,
}

impl Applicant {
    /// Makes the key.
    pub fn new(token: &Token, role: PeerRole, name: Option<AgentName>) -> Result<Self, JoinFault> {
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
        let pin = token.pin();
        Ok(Self { key, join, pin })
    }

    /// By which the center knows the key, where it is the center that dials.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }

    /// For TLS where the center dials: it must show the authority whose fingerprint the token carries.
    pub fn wait_config(&self) -> Result<Arc<ServerConfig>, JoinFault> {
        let shown = self.key.own_certificate()?;
        Ok(wait_config(&self.key, shown, self.pin)?)
    }

    async fn dial(&self, center: &str) -> Result<Given, LinkFault> {
        let dialled = dial(center, &join_config(self.pin)?).await?;
        let authority = presented(dialled.stream.get_ref().1, self.pin);
        let link = Link::new(dialled.stream, Bounds::default());
        self.ask(link, authority, dialled.deadline).await
    }

    /// Asks a center that has dialled.
    pub async fn ask_dialler<S>(&self, center: Accepted<S>) -> Result<Given, LinkFault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let authority = presented(center.stream.get_ref().1, self.pin);
        let link = Link::new(center.stream, Bounds::default());
        self.ask(link, authority, center.deadline).await
    }

    async fn ask(
        &self,
        mut link: Link<FromJoiner, ToJoiner>,
        authority: Option<CertificateDer<'static>>,
        deadline: Instant,
    ) -> Result<Given, LinkFault> {
        let authority = authority.ok_or(LinkFault::Closed)?;
        let exchange = async {
            link.send(&FromJoiner::Join(self.join.clone())).await?;
            match link.next().await? {
                Some(ToJoiner::Joined(joined)) => Ok(joined),
                Some(ToJoiner::Error(frame)) => Err(LinkFault::Told(frame)),
                None => Err(LinkFault::Closed),
            }
        };
        let joined = timeout_at(deadline, exchange)
            .await
            .map_err(|_elapsed| LinkFault::Timeout("no answer to the join"))??;
        Ok(Given {
            joined,
            authority: pem(&authority),
            link,
        })
    }

    /// Checks what was given, and becomes a member. The link is open still.
    pub fn accept(
        self,
        given: Given,
    ) -> Result<(Identity, Joined, Link<FromJoiner, ToJoiner>), JoinFault> {
        let Given {
            joined,
            authority,
            link,
        } = given;
        let identity = Identity::new(self.key, &joined.certificate, &authority)?;
        let uri = identity.uri();
        if uri.role != self.join.role || uri.fleet.as_str() != joined.fleet {
            return Err(JoinFault::OtherName);
        }
        Ok((identity, joined, link))
    }
}

fn words(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Center => "a center (`ucron-center join`)",
        PeerRole::Agent => "an agent (`ucron-agent join`)",
        PeerRole::Operator => "an operator (`ucron login`)",
    }
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
