// Sets CKA_ENCRYPT of the key with the given label to false, in the token of MODULE, PIN and SOFTHSM2_CONF.
import pkcs11js from 'pkcs11js'

const [label] = process.argv.slice(2)
const module = new pkcs11js.PKCS11()
module.load(process.env.MODULE)
module.C_Initialize()
const [slot] = module
  .C_GetSlotList(true)
  .filter((one) => module.C_GetTokenInfo(one).flags & pkcs11js.CKF_TOKEN_INITIALIZED)
const session = module.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION)
module.C_Login(session, pkcs11js.CKU_USER, process.env.PIN)
module.C_FindObjectsInit(session, [
  { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_SECRET_KEY },
  { type: pkcs11js.CKA_LABEL, value: label },
])
const found = module.C_FindObjects(session, 2)
module.C_FindObjectsFinal(session)
if (found.length !== 1) throw new Error(`${found.length} keys are labelled ${label}`)
module.C_SetAttributeValue(session, found[0], [{ type: pkcs11js.CKA_ENCRYPT, value: false }])
module.C_Finalize()
