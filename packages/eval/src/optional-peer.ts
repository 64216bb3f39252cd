/** Loads a package that only some functions need. @throws when it is not installed: the message says what to install */
export async function optionalPeer<T>(user: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    throw new Error(`${user}: expected the package '${name}', got none; npm install ${name}`, { cause: error });
  }
}
