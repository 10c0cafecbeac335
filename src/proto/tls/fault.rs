//! What TLS can find wrong, in our words: the library's errors and the other side's alerts, with both times
//! where a clock is the matter.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use thiserror::Error as ThisError;

use crate::model::{Fingerprint, FleetId, PeerRole, UnixMs};
use crate::proto::identity::{CertificateFault, PeerIdentity};

/// Why TLS cannot be set up, or whose certificate is refused and why.
#[derive(Debug, Clone, PartialEq, ThisError)]
pub enum TlsError {
    /// Our own identity is not usable.
    #[error("this identity is not usable: {0}")]
    Own(#[from] CertificateFault),
    /// Our own identity, or the provider, is not what the TLS library takes.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] Error),
    /// The peer's certificate names nobody.
    #[error("the certificate does not name a member of a fleet")]
    Nameless,
    /// The peer is of another fleet.
    #[error("the peer is of fleet `{found}`, not of `{wanted}`")]
    Fleet {
        /// The peer's.
        found: FleetId,
        /// Ours.
        wanted: FleetId,
    },
    /// The peer is not what may be at that end.
    #[error("the peer is {found}, wanted is {}", words(.wanted))]
    Role {
        /// What it is.
        found: PeerRole,
        /// What may be there.
        wanted: &'static [PeerRole],
    },
    /// A certificate after its life.
    #[error(
        "the certificate was good until {not_after}, and this host's clock says {now}; set the clock or join again"
    )]
    Expired {
        /// This side's clock.
        now: UnixMs,
        /// End of its life.
        not_after: UnixMs,
    },
    /// A certificate before its life.
    #[error(
        "the certificate is good from {not_before}, and this host's clock says {now}; set the clocks"
    )]
    NotYet {
        /// This side's clock.
        now: UnixMs,
        /// Start of its life.
        not_before: UnixMs,
    },
    /// Not signed by our authority, or not for this use.
    #[error("the certificate is not signed by this fleet's authority for this use")]
    Chain,
    /// The other side says that our certificate is not good at its clock.
    #[error(
        "the other side's clock is outside the life of this certificate; compare both clocks, or join again"
    )]
    RefusedByClock,
    /// The other side does not take our certificate.
    #[error(
        "the other side does not take this certificate as one of its fleet (or wants one where none was sent)"
    )]
    Refused,
    /// Something else that TLS found.
    #[error("TLS failed: {0}")]
    Other(Error),
    /// No certificate of the chain has the fingerprint in the token.
    #[error(
        "the center is not of the fleet that the token is for: none of its certificates has the fingerprint {0}"
    )]
    Pin(Fingerprint),
    /// The host dialled does not have the key that it was said to have.
    #[error("the host does not have the key with the fingerprint {0}")]
    Key(Fingerprint),
}

fn words(roles: &[PeerRole]) -> String {
    let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    words.join(" or ")
}

/// Whether an identity is good now, as this host's clock says; asked before dialling, for the sake of a clear
/// error with both times.
pub fn check_life(peer: &PeerIdentity, now: UnixMs) -> Result<(), TlsError> {
    if now > peer.not_after {
        let not_after = peer.not_after;
        return Err(TlsError::Expired { now, not_after });
    }
    if now < peer.not_before {
        let not_before = peer.not_before;
        return Err(TlsError::NotYet { now, not_before });
    }
    Ok(())
}

impl From<&Error> for TlsError {
    /// Says for the library's errors what ours say.
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::AlertReceived(alert) => of_alert(*alert).unwrap_or(Self::Other(error.clone())),
            Error::NoCertificatesPresented => Self::Nameless,
            other => Self::Other(other.clone()),
        }
    }
}

fn of_certificate(error: &CertificateError) -> TlsError {
    match error {
        CertificateError::Other(OtherError(ours)) => ours
            .downcast_ref::<TlsError>()
            .cloned()
            .unwrap_or(TlsError::Chain),
        CertificateError::ExpiredContext { time, not_after } => TlsError::Expired {
            now: instant(*time),
            not_after: instant(*not_after),
        },
        CertificateError::NotValidYetContext { time, not_before } => TlsError::NotYet {
            now: instant(*time),
            not_before: instant(*not_before),
        },
        _ => TlsError::Chain,
    }
}

fn of_alert(alert: AlertDescription) -> Option<TlsError> {
    match alert {
        AlertDescription::CertificateExpired => Some(TlsError::RefusedByClock),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => Some(TlsError::Refused),
        _ => None,
    }
}

fn instant(time: UnixTime) -> UnixMs {
    UnixMs::default().plus(Duration::from_secs(time.as_secs()))
}
