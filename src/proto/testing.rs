//! Fleets for the tests of this folder: an authority that signs members, so far as tests need one. The real
//! one is `auth`'s, which `proto` may not import.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::identity::{Identity, PrivateKey};
use crate::model::{Fingerprint, PeerRole, PeerUri};

/// A fleet with an authority of its own.
pub struct Fleet {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Fleet {
    /// A new authority.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// The same authority, signing for a fleet of another name.
    pub fn renamed(&self, name: &str) -> Self {
        let key = KeyPair::from_pem(&self.issuer.key().serialize_pem()).unwrap();
        Self {
            name: name.to_owned(),
            issuer: Issuer::from_ca_cert_pem(&self.pem, key).unwrap(),
            pem: self.pem.clone(),
        }
    }

    /// The authority's fingerprint.
    pub fn pin(&self) -> Fingerprint {
        Fingerprint::of(&CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
    }

    /// A member with a good certificate.
    pub fn member(&self, role: PeerRole, id: &str) -> Identity {
        self.member_with(role, id, |_| {})
    }

    /// A member whose certificate is changed before it is signed.
    pub fn member_with(
        &self,
        role: PeerRole,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = PrivateKey::make().unwrap();
        let pem = self.sign(&key.request().unwrap(), role, id, change);
        Identity::new(key, &pem, &self.pem).unwrap()
    }

    /// Signs a request.
    pub fn sign(
        &self,
        request: &str,
        role: PeerRole,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let request = rcgen::CertificateSigningRequestParams::from_pem(request).unwrap();
        let uri = PeerUri {
            fleet: self.name.parse().unwrap(),
            role,
            id: id.to_owned(),
        };
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        params.subject_alt_names =
            vec![SanType::URI(Ia5String::try_from(uri.to_string()).unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role != PeerRole::Operator {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        change(&mut params);
        params
            .signed_by(&request.public_key, &self.issuer)
            .unwrap()
            .pem()
    }
}
