//! Identity of one member: private key, certificate, the authority's certificate, and where the centers are.
//! The key is made on the host that uses it and never leaves it. Files: `DIR/identity.pem` (key, certificate,
//! authority, in this order: one file, so that they are never of two identities) and `DIR/centers`.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::files::{FileError, make_private_dir, read_private, write_private};
use crate::model::{Fingerprint, PeerUri, UnixMs};

const IDENTITY_FILE: &str = "identity.pem";
const CENTERS_FILE: &str = "centers";

/// Why there is no identity to use.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file does not hold an identity.
    #[error("`{}` holds no identity: {why}; join or log in again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: CertificateFault,
    },
    /// A key could not be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

/// What is wrong with a certificate or the key to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// No PEM of the kind wanted.
    #[error("the {0} is missing or no PEM")]
    Pem(&'static str),
    /// Not X.509.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Not exactly one name, or it is no peer's URI.
    #[error("the certificate does not name a member of a fleet")]
    Name,
    /// The certificate is of another key.
    #[error("the certificate is not of this key")]
    OtherKey,
}

/// A private key (PKCS #8). `Debug` shows nothing of it.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// A new ECDSA P-256 key.
    pub fn make() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// A certificate request (PEM) that proves possession and asks for nothing.
    pub fn request(&self) -> Result<String, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.pem()?)
    }

    /// The fingerprint of the public key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.subject_public_key_info())
    }

    /// A certificate that this key signs for itself, so that TLS has one to show before the fleet has given any.
    /// It names nobody and lives for ever: whoever takes it knows the key by its fingerprint.
    pub(super) fn own_certificate(&self) -> Result<CertificateDer<'static>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        Ok(params.self_signed(&self.0)?.der().clone())
    }

    fn read(pem: &str) -> Result<Self, CertificateFault> {
        let broken = CertificateFault::Pem("private key");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| broken)?;
        KeyPair::try_from(&der).map(Self).map_err(|_| broken)
    }

    /// The key as the TLS library takes it.
    pub(super) fn der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// What a certificate says of its holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// Fleet, role, id.
    pub uri: PeerUri,
    /// SHA-256 of the public key: tells two holders of one name apart.
    pub key: Fingerprint,
    /// From when the certificate is good.
    pub not_before: UnixMs,
    /// Until when it is good.
    pub not_after: UnixMs,
}

impl PeerIdentity {
    /// Reads it out of a certificate. Whether the certificate is to be believed is not looked at here.
    pub fn read(der: &[u8]) -> Result<Self, CertificateFault> {
        let (_, read) =
            x509_parser::parse_x509_certificate(der).map_err(|_| CertificateFault::Unreadable)?;
        let life = read.validity();
        Ok(Self {
            uri: uri_of(&read)?,
            key: Fingerprint::of(read.tbs_certificate.subject_pki.raw),
            not_before: UnixMs(life.not_before.timestamp().saturating_mul(1000)),
            not_after: UnixMs(life.not_after.timestamp().saturating_mul(1000)),
        })
    }
}

/// The fingerprint of the public key in a certificate, which need not name anybody.
pub(super) fn key_of(der: &[u8]) -> Result<Fingerprint, CertificateFault> {
    let (_, read) =
        x509_parser::parse_x509_certificate(der).map_err(|_| CertificateFault::Unreadable)?;
    Ok(Fingerprint::of(read.tbs_certificate.subject_pki.raw))
}

fn uri_of(read: &X509Certificate<'_>) -> Result<PeerUri, CertificateFault> {
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.ok_or(CertificateFault::Name)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => uri.parse().map_err(|_| CertificateFault::Name),
        _ => Err(CertificateFault::Name),
    }
}

/// A member's own identity. `Debug` shows no key.
#[derive(Debug)]
pub struct Identity {
    key: PrivateKey,
    certificate: String,
    authority: String,
    peer: PeerIdentity,
}

impl Identity {
    /// Puts together a key, the certificate signed for it and the authority's certificate (both PEM).
    pub fn new(
        key: PrivateKey,
        certificate: &str,
        authority: &str,
    ) -> Result<Self, CertificateFault> {
        let peer = PeerIdentity::read(&der_of(certificate, "certificate")?)?;
        der_of(authority, "authority's certificate")?;
        if peer.key != key.fingerprint() {
            return Err(CertificateFault::OtherKey);
        }
        Ok(Self {
            key,
            certificate: certificate.to_owned(),
            authority: authority.to_owned(),
            peer,
        })
    }

    /// Whether `dir` holds an identity.
    pub fn exists(dir: &Path) -> bool {
        dir.join(IDENTITY_FILE).exists()
    }

    /// Reads the identity out of a state directory or client home. Refuses what others can read.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        let text = read_private(&path)?;
        Self::read(&text).map_err(|why| IdentityError::Broken { path, why })
    }

    fn read(text: &str) -> Result<Self, CertificateFault> {
        let mut parts = text.split_inclusive("-----END CERTIFICATE-----\n");
        let (first, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let at = first.find("-----BEGIN CERTIFICATE-----");
        let (key, certificate) = first.split_at(at.ok_or(CertificateFault::Pem("certificate"))?);
        Self::new(PrivateKey::read(key)?, certificate, second)
    }

    /// Writes the identity into a directory, made if it is not there; in place of another, whole.
    pub fn store(&self, dir: &Path) -> Result<(), IdentityError> {
        make_private_dir(dir)?;
        let key = self.key.0.serialize_pem();
        let text = format!("{key}{}{}", self.certificate, self.authority);
        Ok(write_private(&dir.join(IDENTITY_FILE), text.as_bytes())?)
    }

    /// Deletes the identity and the centers' addresses in a directory, and leaves what else is there.
    pub fn remove(dir: &Path) -> std::io::Result<()> {
        std::fs::remove_file(dir.join(IDENTITY_FILE))?;
        match std::fs::remove_file(dir.join(CENTERS_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Who it is, with its key's fingerprint and its life.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Fleet, role, id.
    pub fn uri(&self) -> &PeerUri {
        &self.peer.uri
    }

    /// Whether its fleet's authority is the one with this fingerprint, which tokens carry.
    pub fn is_of(&self, pin: Fingerprint) -> bool {
        self.authority()
            .is_ok_and(|der| Fingerprint::of(&der) == pin)
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.der()
    }

    /// Its certificate, then the authority's, so that a joiner can compare the latter with its pin.
    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
        Ok(vec![
            der_of(&self.certificate, "certificate")?,
            self.authority()?,
        ])
    }

    pub(super) fn authority(&self) -> Result<CertificateDer<'static>, CertificateFault> {
        der_of(&self.authority, "authority's certificate")
    }
}

fn der_of(pem: &str, what: &'static str) -> Result<CertificateDer<'static>, CertificateFault> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateFault::Pem(what))
}

/// Reads the centers' addresses, `ADDR:PORT`, the one to dial first first.
pub fn load_centers(dir: &Path) -> Result<Vec<String>, FileError> {
    let text = read_private(&dir.join(CENTERS_FILE))?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Addresses kept at most.
const MOST_CENTERS: usize = 16;

/// The addresses known and those told by a center; none where nothing is new. What was dialled before stays: it may be
/// the only way from here.
pub fn with_told(known: &[String], told: &[String]) -> Option<Vec<String>> {
    let mut all = known.to_vec();
    for center in told {
        if !all.contains(center) && all.len() < MOST_CENTERS {
            all.push(center.clone());
        }
    }
    (all.len() > known.len()).then_some(all)
}

/// Writes the centers' addresses, one a line.
pub fn store_centers(dir: &Path, centers: &[String]) -> Result<(), FileError> {
    let mut text = centers.join("\n");
    text.push('\n');
    write_private(&dir.join(CENTERS_FILE), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::*;
    use crate::model::PeerRole;

    #[test]
    fn an_identity_survives_its_file() {
        let fleet = Fleet::new("f1");
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("agent");
        let made = fleet.member(PeerRole::Operator, "Übung");
        assert!(!Identity::exists(&dir));
        made.store(&dir).unwrap();
        let read = Identity::load(&dir).unwrap();
        assert_eq!(read.peer(), made.peer());
        assert_eq!(read.uri().id, "Übung");
        assert_eq!(read.authority(), made.authority());
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_broken_or_foreign_file_is_refused() {
        let fleet = Fleet::new("f1");
        let one = fleet.member(PeerRole::Agent, "a1");
        let two = fleet.member(PeerRole::Agent, "a2");
        let (cert, ca) = (&one.certificate, &one.authority);
        let key = two.key.0.serialize_pem();
        let own = one.key.0.serialize_pem();
        let check = |text: String, wanted: CertificateFault| {
            assert_eq!(Identity::read(&text).err(), Some(wanted));
        };
        check(String::new(), CertificateFault::Pem("certificate"));
        check(format!("{key}{cert}{ca}"), CertificateFault::OtherKey);
        check(format!("{cert}{ca}"), CertificateFault::Pem("private key"));
        check(
            format!("{own}{cert}"),
            CertificateFault::Pem("authority's certificate"),
        );
        check(format!("{own}{ca}{cert}"), CertificateFault::Name);
    }

    #[test]
    fn centers_are_one_a_line() {
        let home = tempfile::tempdir().unwrap();
        let centers = ["10.0.0.1:9502".to_owned(), "[::1]:9502".to_owned()];
        store_centers(home.path(), &centers).unwrap();
        assert_eq!(load_centers(home.path()).unwrap(), centers);
    }
}
