/**
 * Who may read and write a node. The first entry names the owner, and what all others may; each
 * further entry is for one domain. Source: Xen docs/misc/xenstore.txt, GET_PERMS and SET_PERMS.
 */
export type Access = 'n' | 'r' | 'w' | 'b';

export interface Permission {
  readonly domain: number;
  readonly access: Access;
}
export type Permissions = readonly [Permission, ...Permission[]];

export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly owner: boolean;
}

/** Domain 0 is privileged. */
export const isPrivileged = (domain: number): boolean => domain === 0;

const rightsOf = (access: Access, owner = false): Rights => ({
  read: access === 'r' || access === 'b',
  write: access === 'w' || access === 'b',
  owner,
});

export const rightsFor = (domain: number, [first, ...others]: Permissions): Rights => {
  if (isPrivileged(domain) || first.domain === domain) return rightsOf('b', true);
  return rightsOf((others.find((one) => one.domain === domain) ?? first).access);
};

/** 'r5'; undefined if the text is no permission. */
export const parsePermission = (text: string): Permission | undefined => {
  const [, access, digits] = /^([nrwb])(\d{1,5})$/.exec(text) ?? [];
  if (access === undefined || Number(digits) > 0xffff) return undefined;
  return { access: access as Access, domain: Number(digits) };
};

export const permissionText = ({ access, domain }: Permission): string => `${access}${domain}`;
