/** True in `npm run test:long`: each kind whole, where `npm test` has one round of it. */
export const LONG = process.env['LONG'] === '1'
