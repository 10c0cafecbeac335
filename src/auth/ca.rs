//! The fleet's private certificate authority: makes itself once, signs what the center tells it to. It takes
//! nothing from a certificate request but the public key, and that only with proof that the asker holds the
//! private one.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use super::seal::{SealError, SealKey, is_sealed};
use super::token::{RandomError, random};
use crate::files::{FileError, make_private_dir, read_private, write_private};
use crate::model::{Fingerprint, FleetId, PeerRole, PeerUri, UnixMs};

const DAY: Duration = Duration::from_hours(24);
/// How long a certificate of a center, agent or operator lives: a host that was off for months still comes back,
/// a key that leaked unseen does not serve for ever.
pub const LIFE: Duration = Duration::from_hours(24 * 365);
/// How long the authority lives: longer than the machines, because every host pins it.
pub const LIFE_CA: Duration = Duration::from_hours(24 * 365 * 20);
/// How far certificates are backdated: hosts whose clocks run behind can use them at once.
const BACKDATED: Duration = DAY;
/// Bytes of a serial number, the most that RFC 5280 (4.1.2.2) allows less the sign.
const SERIAL_LEN: usize = 16;
/// The authority's key, sealed or not, and certificate: one file so that they are never of two authorities.
const FILE: &str = "authority.pem";

/// Why a certificate cannot be made.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its file is not what this program wrote.
    #[error("`{path}` holds no certificate authority: {source}")]
    Broken {
        /// The file.
        path: String,
        /// What was wrong.
        source: rcgen::Error,
    },
    /// Its key is sealed, and there is no sealing key.
    #[error(
        "the key in `{0}` is sealed, and nobody said with what; set `ca_key_file` in center.toml, or give the service the credential `ucron-ca-key`"
    )]
    Sealed(String),
    /// It cannot be sealed or opened.
    #[error("`{path}`: {source}")]
    Seal {
        /// The file.
        path: String,
        /// Why not.
        source: SealError,
    },
    /// There is one already; a second would lock every member out.
    #[error("`{0}` holds a certificate authority already")]
    Exists(String),
    /// No certificate request, or not signed by the key in it.
    #[error("the certificate request cannot be read or is not signed by its own key")]
    Request,
    /// A key of a kind that no ucron program makes.
    #[error("the certificate request has a key that is neither ECDSA P-256 nor Ed25519")]
    Key,
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Making or signing failed.
    #[error("cannot make a certificate: {0}")]
    Sign(#[from] rcgen::Error),
}

/// The fleet's certificate authority. `Debug` shows no key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo) in it: the store keeps it beside the member's row, so that
    /// the certificate of a removed member does not pass for a later one of the same name.
    pub key: Fingerprint,
    /// Until when it is good.
    pub not_after: UnixMs,
}

impl Authority {
    /// Makes a new authority and stores it in `dir` (`DIR/ca`), where none may be.
    pub fn create(
        dir: &Path,
        fleet: &FleetId,
        now: UnixMs,
        seal: Option<&SealKey>,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(&format!("ucron {fleet}"), now, LIFE_CA)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let made = Self::new(params.self_signed(&key)?.pem(), key)?;
        made.keep(dir, seal)?;
        Ok(made)
    }

    /// Reads the authority out of `dir`. One that is not sealed although there is a sealing key is sealed now.
    pub fn load(dir: &Path, seal: Option<&SealKey>) -> Result<Self, AuthorityError> {
        let path = dir.join(FILE);
        let text = read_private(&path)?;
        let shown = || path.display().to_string();
        let broken = |source| AuthorityError::Broken {
            path: shown(),
            source,
        };
        if !is_sealed(&text) {
            let read = Self::read(&text).map_err(broken)?;
            if seal.is_some() {
                write_private(&path, read.text(&path, seal)?.as_bytes())?;
            }
            return Ok(read);
        }
        let seal = seal.ok_or_else(|| AuthorityError::Sealed(shown()))?;
        let (sealed, pem) = halves(&text).map_err(broken)?;
        let key = seal
            .open(sealed, pem)
            .map_err(|source| AuthorityError::Seal {
                path: shown(),
                source,
            })?;
        Self::read(&(key + pem)).map_err(broken)
    }

    /// Writes it into `dir`, where none may be.
    fn keep(&self, dir: &Path, seal: Option<&SealKey>) -> Result<(), AuthorityError> {
        make_private_dir(dir)?;
        let path = dir.join(FILE);
        if path.exists() {
            return Err(AuthorityError::Exists(path.display().to_string()));
        }
        Ok(write_private(&path, self.text(&path, seal)?.as_bytes())?)
    }

    /// What its file `path` holds.
    fn text(&self, path: &Path, seal: Option<&SealKey>) -> Result<String, AuthorityError> {
        let key = self.issuer.key().serialize_pem();
        let key = match seal {
            None => key,
            Some(seal) => seal
                .seal(&key, &self.pem)
                .map_err(|source| AuthorityError::Seal {
                    path: path.display().to_string(),
                    source,
                })?,
        };
        Ok(key + &self.pem)
    }

    fn read(text: &str) -> Result<Self, rcgen::Error> {
        let (key, pem) = halves(text)?;
        Self::new(pem.to_owned(), KeyPair::from_pem(key)?)
    }

    fn new(pem: String, key: KeyPair) -> Result<Self, rcgen::Error> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
            pem,
        })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// Key and certificate, PEM: for another center of the fleet and nobody else.
    pub fn secret(&self) -> String {
        format!("{}{}", self.issuer.key().serialize_pem(), self.pem)
    }

    /// Stores in `dir`, where none may be, the authority that another center has given.
    pub fn store(dir: &Path, secret: &str, seal: Option<&SealKey>) -> Result<Self, AuthorityError> {
        let read = Self::read(secret).map_err(|source| AuthorityError::Broken {
            path: dir.join(FILE).display().to_string(),
            source,
        })?;
        read.keep(dir, seal)?;
        Ok(read)
    }

    /// The fingerprint of its certificate: what tokens pin.
    pub fn pin(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs a certificate for `subject` with the public key of this request (PEM), good from a day before `now`
    /// for a year. Whatever else the request asks for is ignored.
    pub fn issue(
        &self,
        request: &str,
        subject: &PeerUri,
        now: UnixMs,
    ) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|_| AuthorityError::Request)?;
        let algorithm = PublicKeyData::algorithm(&request.public_key);
        if algorithm != &rcgen::PKCS_ECDSA_P256_SHA256 && algorithm != &rcgen::PKCS_ED25519 {
            return Err(AuthorityError::Key);
        }
        let params = member_params(subject, now)?;
        let signed = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(Issued {
            certificate: signed.pem(),
            key: Fingerprint::of(&request.public_key.subject_public_key_info()),
            not_after: now.plus(LIFE),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority {{ pin: {}, .. }}", self.pin())
    }
}

/// Key and certificate of such a file.
fn halves(text: &str) -> Result<(&str, &str), rcgen::Error> {
    let at = text.find("-----BEGIN CERTIFICATE-----");
    let at = at.ok_or(rcgen::Error::CouldNotParseCertificate)?;
    Ok(text.split_at(at))
}

fn member_params(subject: &PeerUri, now: UnixMs) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(&format!("ucron {}", subject.role), now, LIFE)?;
    let uri = Ia5String::try_from(subject.to_string())?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(subject.role);
    Ok(params)
}

/// Centers and agents may wait for the other or dial it; a client only dials.
fn usages(role: PeerRole) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        PeerRole::Center | PeerRole::Agent => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        PeerRole::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn params(
    common_name: &str,
    now: UnixMs,
    life: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.minus(BACKDATED).since(UnixMs(0));
    params.not_after = epoch + now.plus(life).since(UnixMs(0));
    params.serial_number = Some(SerialNumber::from_slice(&random::<SERIAL_LEN>()?));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_795_366_200_000);

    fn fleet() -> FleetId {
        "f1".parse().unwrap()
    }

    fn request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn an_authority_is_made_once_and_read_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let made = Authority::create(&dir, &fleet(), NOW, None).unwrap();
        let read = Authority::load(&dir, None).unwrap();
        assert_eq!(made.pin(), read.pin());
        assert!(matches!(
            Authority::create(&dir, &fleet(), NOW, None),
            Err(AuthorityError::Exists(_))
        ));
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_sealed_authority_is_nothing_without_its_key() {
        let home = tempfile::tempdir().unwrap();
        let (dir, copy) = (home.path().join("ca"), home.path().join("copy"));
        let (seal, other) = (SealKey::make().unwrap(), SealKey::make().unwrap());
        let made = Authority::create(&dir, &fleet(), NOW, None).unwrap();
        let on_disk = |dir: &Path| std::fs::read_to_string(dir.join(FILE)).unwrap();
        assert!(on_disk(&dir).contains("PRIVATE"));
        // Sealed by the first that has a key.
        assert_eq!(
            Authority::load(&dir, Some(&seal)).unwrap().pin(),
            made.pin()
        );
        assert!(!on_disk(&dir).contains("PRIVATE"));
        let read = Authority::load(&dir, Some(&seal)).unwrap();
        assert_eq!(read.secret(), made.secret());
        let refused = |seal| Authority::load(&dir, seal).unwrap_err().to_string();
        assert!(refused(None).contains("`ca_key_file`"));
        assert!(refused(Some(&other)).contains("does not open it"));
        Authority::store(&copy, &made.secret(), Some(&other)).unwrap();
        assert!(!on_disk(&copy).contains("PRIVATE"));
        assert!(Authority::load(&copy, Some(&other)).is_ok());
    }

    #[test]
    fn a_certificate_takes_nothing_from_its_request_but_the_key() {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::create(&home.path().join("ca"), &fleet(), NOW, None).unwrap();
        let key = KeyPair::generate().unwrap();
        let greedy = request(&key, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.subject_alt_names = vec![SanType::DnsName("evil".try_into().unwrap())];
        });
        let subject: PeerUri = "ucron://f1/agent/a1".parse().unwrap();
        let issued = authority.issue(&greedy, &subject, NOW).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let (_, read) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!read.is_ca());
        let names = read.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(format!("{:?}", names.value).contains("ucron://f1/agent/a1"));
        assert_eq!(
            read.validity().not_before.timestamp(),
            NOW.minus(BACKDATED).0 / 1000
        );
        assert_eq!(issued.key, Fingerprint::of(&key.subject_public_key_info()));
        assert_eq!(
            read.tbs_certificate.subject_pki.raw,
            key.subject_public_key_info()
        );
    }

    #[test]
    fn a_request_without_proof_or_with_a_foreign_key_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::create(&home.path().join("ca"), &fleet(), NOW, None).unwrap();
        let subject: PeerUri = "ucron://f1/agent/a1".parse().unwrap();
        let refused = |text: &str| {
            authority
                .issue(text, &subject, NOW)
                .unwrap_err()
                .to_string()
        };
        let broken = "the certificate request cannot be read or is not signed by its own key";
        assert_eq!(refused("hello"), broken);

        let good = request(&KeyPair::generate().unwrap(), |_| {});
        let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes());
        let mut forged = der.unwrap().to_vec();
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        let forged = pem_of(&forged);
        assert_eq!(refused(&forged), broken);

        let odd = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(refused(&request(&odd, |_| {})).contains("P-256"));
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    }
}
