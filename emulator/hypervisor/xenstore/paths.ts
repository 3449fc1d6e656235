/**
 * Paths of xenstore nodes. A path without a slash in front is relative to the caller's domain.
 * Source: Xen docs/misc/xenstore.txt, "Communication"; limits: public/io/xs_wire.h.
 */
const VALID = /^[A-Za-z0-9\-/_@]*$/;
const ABSOLUTE_MAXIMUM = 3072;
const RELATIVE_MAXIMUM = 2048;

export const domainPath = (domain: number): string => `/local/domain/${domain}`;

/** A domain has come, or is gone: watched and given permissions as nodes, else no nodes. */
export const INTRODUCE_DOMAIN = '@introduceDomain';
export const RELEASE_DOMAIN = '@releaseDomain';

export const isRelative = (path: string): boolean => !/^[/@]/.test(path);

/** The absolute path that a domain means; undefined if it is none. */
export const resolvePath = (
  domain: number,
  path: string,
  mayBeSpecial = false,
): string | undefined => {
  if (!VALID.test(path) || (path.startsWith('@') && !mayBeSpecial)) return undefined;
  const absolute = isRelative(path) ? `${domainPath(domain)}/${path}` : path;
  const own = /^\/local\/domain\/\d{1,5}\//.exec(absolute)?.[0];
  const maximum = own === undefined ? ABSOLUTE_MAXIMUM : RELATIVE_MAXIMUM + own.length;
  const isProper =
    (absolute === '/' || !absolute.endsWith('/')) &&
    !absolute.includes('//') &&
    absolute.length <= maximum;
  return isProper ? absolute : undefined;
};

/** Of '/' and of the special nodes it is '/'. */
export const parentOf = (path: string): string =>
  path.slice(0, Math.max(path.lastIndexOf('/'), 0)) || '/';

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export const childOf = (path: string, name: string): string =>
  path === '/' ? `/${name}` : `${path}/${name}`;

/** Whether `path` is `ancestor` or below it. */
export const isWithin = (path: string, ancestor: string): boolean =>
  path === ancestor || ancestor === '/' || path.startsWith(`${ancestor}/`);
