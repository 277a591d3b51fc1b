/**
 * Takes the place of node:module in the single executable, which has no node_modules: what the code
 * requires by name is in the bundle. What is not is not installed.
 */

const IN_THE_BUNDLE = {
  'lakebase-proxy/package.json': () => require('../package.json'),
  pino: () => require('pino'),
  'pino-pretty': () => require('pino-pretty'),
}

function missing(name) {
  const error = new Error(`Cannot find module '${name}' in the executable`)
  error.code = 'MODULE_NOT_FOUND'
  return error
}

exports.createRequire = () => {
  const requireByName = (name) => {
    if (!Object.hasOwn(IN_THE_BUNDLE, name)) throw missing(name)
    return IN_THE_BUNDLE[name]()
  }
  requireByName.resolve = (name) => {
    throw missing(name)
  }
  return requireByName
}
