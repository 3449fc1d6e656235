/**
 * Paths as text, since the adapter also runs where there is no file system: POSIX paths, Windows
 * paths and URIs are taken apart at `/` and `\` alike.
 */
const LAST_SEPARATOR = /[\\/](?=[^\\/]*$)/;

const separatorOf = (path: string): string =>
  path.includes('\\') && !path.includes('/') ? '\\' : '/';

/** The folder of a file, without a separator at its end; '' for a bare name. */
export const folderOf = (path: string): string => {
  const at = path.search(LAST_SEPARATOR);
  return at < 0 ? '' : path.slice(0, at);
};

export const fileNameOf = (path: string): string => path.slice(path.search(LAST_SEPARATOR) + 1);

/** The file's name without its last ending, 'main' for 'a/main.asm'. */
export const stemOf = (path: string): string => {
  const name = fileNameOf(path);
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(0, dot) : name;
};

/** '.asm', in lower case; '' if there is none. */
export const endingOf = (path: string): string => {
  const name = fileNameOf(path);
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(dot).toLowerCase() : '';
};

const isAbsolute = (path: string): boolean => /^([\\/]|[a-z][a-z0-9+.-]*:)/i.test(path);

/** `path` as seen from `folder`; `.` and `..` are resolved. */
export const joinPath = (folder: string, path: string): string => {
  const whole = isAbsolute(path) || folder === '' ? path : `${folder}/${path}`;
  const root = /^(?:[a-z][a-z0-9+.-]+:\/\/[^/]*\/|[a-z]:[\\/]|[\\/])/i.exec(whole)?.[0] ?? '';
  const parts: string[] = [];
  for (const part of whole.slice(root.length).split(/[\\/]/)) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (part !== '..' || root === '') parts.push(part);
  }
  return root + parts.join(separatorOf(whole));
};

/** The same text for the same file, whatever client spelled it. */
export const comparablePath = (path: string): string =>
  joinPath('', path)
    .replaceAll('\\', '/')
    .replace(/^[A-Z]:/, (drive) => drive.toLowerCase());
