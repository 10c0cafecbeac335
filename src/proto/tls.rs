//! TLS 1.3 with our own certificate authority and nobody else's. Each side checks chain, life, fleet and role
//! of the other before the first byte; a host name is never looked at. The only file that knows rustls'
//! machinery, with one provider, ring.

mod fault;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, PeerMisbehaved, RootCertStore, ServerConfig, SignatureScheme, version::TLS13,
};

pub use fault::{TlsError, check_life};

use super::identity::{Identity, PeerIdentity, PrivateKey, key_of};
use crate::clock;
use crate::model::{Fingerprint, FleetId, PeerRole, UnixMs};

/// Who may be at the other end of a connection that this role accepts.
fn guests(own: PeerRole) -> &'static [PeerRole] {
    match own {
        PeerRole::Center => &[PeerRole::Agent, PeerRole::Operator],
        PeerRole::Agent | PeerRole::Operator => &[PeerRole::Center],
    }
}

/// Who may be at the other end of a connection that this role makes.
fn hosts(own: PeerRole) -> &'static [PeerRole] {
    match own {
        PeerRole::Center => &[PeerRole::Agent],
        PeerRole::Agent | PeerRole::Operator => &[PeerRole::Center],
    }
}

/// For whoever accepts connections: a center (agents, operators, and joiners, who have no certificate), or an
/// agent that waits for its center.
pub fn server_config(own: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    server_config_at(own, Arc::new(WallClock))
}

fn server_config_at(
    own: &Identity,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let role = own.uri().role;
    let provider = provider();
    let roots = Arc::new(roots(own.authority()?)?);
    let chain = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let chain = if role == PeerRole::Center {
        chain.allow_unauthenticated()
    } else {
        chain
    };
    let chain = chain.clear_root_hint_subjects().build();
    let verifier = GuestVerifier {
        chain: chain.map_err(|e| Error::General(e.to_string()))?,
        wanted: Wanted::of(own, guests(role)),
    };
    let mut config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(own.chain()?, own.key())?;
    // A resumed session would skip the check of the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For whoever dials: an agent or operator its center, a center an agent that waits.
pub fn client_config(own: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_at(own, Arc::new(WallClock))
}

fn client_config_at(
    own: &Identity,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = HostVerifier {
        trust: Trust::Authority(roots(own.authority()?)?),
        wanted: Wanted::of(own, hosts(own.uri().role)),
        provider: provider(),
    };
    let mut config = dialer(clock, verifier)?.with_client_auth_cert(own.chain()?, own.key())?;
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// For a joiner, who knows of its fleet only the authority's fingerprint.
pub fn join_config(pin: Fingerprint) -> Result<Arc<ClientConfig>, TlsError> {
    join_config_at(pin, Arc::new(WallClock))
}

fn join_config_at(
    pin: Fingerprint,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = HostVerifier {
        trust: Trust::Pin(pin),
        wanted: Wanted {
            fleet: None,
            roles: &[PeerRole::Center],
        },
        provider: provider(),
    };
    let mut config = dialer(clock, verifier)?.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// For a center that dials a host which waits to join: the host is known by the fingerprint of its key alone.
pub fn add_config(own: &Identity, key: Fingerprint) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = HostVerifier {
        trust: Trust::Key(key),
        wanted: Wanted::of(own, hosts(own.uri().role)),
        provider: provider(),
    };
    let dialer = dialer(Arc::new(WallClock), verifier)?;
    let mut config = dialer.with_client_auth_cert(own.chain()?, own.key())?;
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// For a host that waits to join: `shown` is its key's own certificate, and whoever dials is believed only as a
/// center whose chain has the authority with this fingerprint.
pub(super) fn wait_config(
    key: &PrivateKey,
    shown: CertificateDer<'static>,
    pin: Fingerprint,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(WallClock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(CenterVerifier {
            pin,
            provider: provider(),
        }))
        .with_single_cert(vec![shown], key.der())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn dialer(
    clock: Arc<dyn TimeProvider>,
    verifier: HostVerifier,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    Ok(ClientConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// Who is at the other end, once the handshake is complete; none for a joiner. The certificate was checked then;
/// whether its holder is still a member is for the center's rows to say.
pub fn peer_identity(connection: &CommonState) -> Option<PeerIdentity> {
    let leaf = connection.peer_certificates()?.first()?;
    PeerIdentity::read(leaf).ok()
}

/// The certificate in the peer's chain that has this fingerprint.
pub(super) fn presented(
    connection: &CommonState,
    pin: Fingerprint,
) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_certificates()?;
    let found = chain.iter().find(|der| Fingerprint::of(der) == pin)?;
    Some(found.clone().into_owned())
}

/// A name for the TLS library, which wants one; it is neither sent nor looked at.
pub(super) fn any_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: CertificateDer<'static>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(roots)
}

/// The project's one wall clock, for the TLS library.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(
            clock::now().since(UnixMs::default()),
        ))
    }
}

/// Which names are let in.
#[derive(Debug)]
struct Wanted {
    /// None before the fleet is known: a joiner.
    fleet: Option<FleetId>,
    roles: &'static [PeerRole],
}

impl Wanted {
    fn of(own: &Identity, roles: &'static [PeerRole]) -> Self {
        Self {
            fleet: Some(own.uri().fleet.clone()),
            roles,
        }
    }

    fn check(&self, leaf: &[u8]) -> Result<(), TlsError> {
        let peer = PeerIdentity::read(leaf).map_err(|_| TlsError::Nameless)?;
        if let Some(wanted) = &self.fleet
            && peer.uri.fleet != *wanted
        {
            return Err(TlsError::Fleet {
                found: peer.uri.fleet,
                wanted: wanted.clone(),
            });
        }
        if !self.roles.contains(&peer.uri.role) {
            return Err(TlsError::Role {
                found: peer.uri.role,
                wanted: self.roles,
            });
        }
        Ok(())
    }
}

/// An error of ours, in the form the TLS library hands through.
fn refused(error: TlsError) -> Error {
    let shared: Arc<dyn std::error::Error + Send + Sync> = Arc::new(error);
    CertificateError::Other(OtherError(shared)).into()
}

/// Checks whoever connects to us.
#[derive(Debug)]
struct GuestVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    wanted: Wanted,
}

impl ClientCertVerifier for GuestVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, others, now)?;
        self.wanted.check(leaf).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn only_tls13() -> Error {
    PeerMisbehaved::SelectedUnofferedCipherSuite.into()
}

/// Checks who dials a host that waits to join.
#[derive(Debug)]
struct CenterVerifier {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for CenterVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let roots = Arc::new(pinned(others, self.pin)?);
        let chain = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let chain = chain.build().map_err(|e| Error::General(e.to_string()))?;
        let verified = chain.verify_client_cert(leaf, &[], now)?;
        let wanted = Wanted {
            fleet: None,
            roles: &[PeerRole::Center],
        };
        wanted.check(leaf).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate with this fingerprint as the only root, if it is among these.
fn pinned(shown: &[CertificateDer<'_>], pin: Fingerprint) -> Result<RootCertStore, Error> {
    let found = shown.iter().find(|der| Fingerprint::of(der) == pin);
    let found = found.ok_or_else(|| refused(TlsError::Pin(pin)))?;
    let mut roots = RootCertStore::empty();
    roots.add(found.clone().into_owned())?;
    Ok(roots)
}

/// What a dialler trusts.
#[derive(Debug)]
enum Trust {
    /// Our authority.
    Authority(RootCertStore),
    /// Whatever certificate in the chain has this fingerprint.
    Pin(Fingerprint),
    /// Whoever has the key with this fingerprint, whatever its certificate says.
    Key(Fingerprint),
}

/// Checks whom we connect to.
#[derive(Debug)]
struct HostVerifier {
    trust: Trust,
    wanted: Wanted,
    provider: Arc<CryptoProvider>,
}

impl HostVerifier {
    fn check_chain(
        &self,
        roots: &RootCertStore,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        // No intermediates: the authority signs every member itself.
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            roots,
            &[],
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

impl ServerCertVerifier for HostVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Authority(roots) => self.check_chain(roots, leaf, now)?,
            Trust::Pin(pin) => self.check_chain(&pinned(others, *pin)?, leaf, now)?,
            Trust::Key(key) if key_of(leaf) == Ok(*key) => {
                return Ok(ServerCertVerified::assertion());
            }
            Trust::Key(key) => return Err(refused(TlsError::Key(*key))),
        }
        self.wanted.check(leaf).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
