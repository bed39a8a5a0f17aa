# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  cloud:
    description:
      - Name of a cloud in C(clouds.yaml).
      - Without it and without O(auth), E(OS_CLOUD) and the other E(OS_*) variables hold.
      - It is a name only. For credentials in the play, use O(auth).
    type: str
  auth_type:
    description:
      - Name of keystoneauth's plugin, such as V(password), V(token) or V(v3applicationcredential).
      - Default is what C(clouds.yaml) or the environment says, else V(password).
    type: str
  auth:
    description:
      - What the plugin that O(auth_type) names needs.
      - Only the secrets among the values are kept out of the output.
    type: dict
    suboptions:
      auth_url:
        description: URL of the identity service.
        type: str
      username:
        description: Name of the user.
        type: str
      user_id:
        description: ID of the user, instead of O(auth.username).
        type: str
      password:
        description: Password of the user.
        type: str
      user_domain_name:
        description: Name of the user's domain.
        type: str
      user_domain_id:
        description: ID of the user's domain.
        type: str
      project_name:
        description: Name of the project to work in.
        type: str
      project_id:
        description: ID of the project to work in.
        type: str
      project_domain_name:
        description: Name of the project's domain.
        type: str
      project_domain_id:
        description: ID of the project's domain.
        type: str
      domain_name:
        description: Name of the domain to work in, instead of a project.
        type: str
      domain_id:
        description: ID of the domain to work in, instead of a project.
        type: str
      default_domain_name:
        description: Name of the domain of user and project where none is given.
        type: str
      default_domain_id:
        description: ID of the domain of user and project where none is given.
        type: str
      system_scope:
        description: V(all) to work on the system instead of a project.
        type: str
      trust_id:
        description: ID of a trust.
        type: str
      token:
        description: A token. It cannot be renewed, so it must outlive the whole run.
        type: str
      passcode:
        description: A one-time passcode.
        type: str
      application_credential_id:
        description: ID of an application credential.
        type: str
      application_credential_name:
        description: Name of an application credential.
        type: str
      application_credential_secret:
        description: Secret of the application credential.
        type: str
  region_name:
    description: Region whose services are used. Default is what C(clouds.yaml) says.
    type: str
  validate_certs:
    description: Whether the APIs' certificates are verified. Default is what C(clouds.yaml) says,
      else V(true).
    type: bool
    aliases: [verify]
  ca_cert:
    description: File of the authorities that sign the APIs' certificates.
    type: str
    aliases: [cacert]
  client_cert:
    description: File of a client certificate.
    type: str
    aliases: [cert]
  client_key:
    description: File of the client certificate's key.
    type: str
    aliases: [key]
  interface:
    description: Kind of endpoint that is used. Default is what C(clouds.yaml) says, else V(public).
    type: str
    choices: [public, internal, admin]
    aliases: [endpoint_type]
  api_timeout:
    description:
      - Seconds after which a call that is not answered is given up. Reads are then asked again,
        twice at most. Writes are not, because they may have happened.
      - Default is what C(clouds.yaml) says, else 30.
    type: int
requirements:
  - python >= 3.11
  - openstacksdk >= 4.6
notes:
  - The user needs the right to administer Nova (the admin role with the default policies), and to
    read all of Placement and Neutron.
  - The module runs where the SDK is installed and the APIs can be reached, usually on C(localhost)
    or through C(delegate_to).
"""
