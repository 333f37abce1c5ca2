package duties

// classes are the classes of fields that rules know, with what they are.
var classes = map[string]string{
	"name": "names", "email": "e-mail addresses", "phone": "telephone numbers", "postal": "postal addresses",
	"dob": "dates of birth", "gender": "gender", "preferences": "preferences", "purchase_history": "purchases",
	"purchase_total": "sums spent", "customer_no": "customer numbers", "password_login": "passwords with which one signs in",
	"payment_card_full": "full card numbers", "bank_account_access": "bank accounts with what opens them",
	"bank_account_no_code": "bank account numbers", "gov_id": "numbers of identity documents", "ssn": "social security numbers",
	"passport_id": "passport numbers", "health": "data on health", "health_insurance": "health insurance numbers",
	"biometric": "biometric data", "genetic": "genetic data", "geo_precise": "precise places", "minors": "data of minors",
	"special_category": "special categories of data", "mothers_maiden_name": "mothers' maiden names",
	"token_only": "tokens without values", "ciphertext_key_safe": "sealed values whose key is safe",
}

// Known reports whether a class of fields has that name.
func Known(class string) bool { return classes[class] != "" }

// harm is a judgement that a person signs.
type harm struct {
	question string
	// presumed: the law excuses a documented "no", so that the duty stands until one is
	// signed.
	presumed bool
}

var harms = map[string]harm{
	"not_unlikely_risk":         {"Can it not be concluded that a risk to the persons is unlikely (GDPR 33(1) and laws after it)?", true},
	"high_risk":                 {"Is a high risk to the persons likely (GDPR 34(1) and laws after it)?", false},
	"rrosh":                     {"Is there a real risk of significant harm (Canada, Kenya)?", false},
	"serious_injury":            {"Is there a risk of serious injury (Quebec)?", false},
	"serious_harm":              {"Is serious harm likely (Australia, New Zealand, Peru, Philippines)?", false},
	"serious_damage":            {"Is serious damage to a person likely (Qatar)?", false},
	"significant_harm":          {"Is significant harm likely (Singapore, Malaysia)?", false},
	"compromises_privacy":       {"Does it compromise privacy, confidentiality or security of the data (Emirates)?", false},
	"relevant_risk":             {"May it bring relevant risk or damage (Brazil)?", false},
	"moral_economic":            {"Does it significantly affect economic or moral rights (Mexico)?", false},
	"harm_not_excluded":         {"Is harm or misuse not excluded by a documented finding (US states)?", true},
	"identity_fraud_reasonable": {"Is identity theft or fraud reasonably believed (Oklahoma, Rhode Island)?", false},
	"substantial_id_theft_risk": {"Is there a substantial risk of identity theft (Massachusetts)?", false},
	"potential_harm":            {"May it harm the data or the persons (Saudi Arabia and others)?", false},
	"material_investor":         {"Is it material to investors (SEC)?", false},
	"significant_incident":      {"Is it a significant incident (NIS2 Art. 23(3))?", false},
}

// events are happenings beside a leak on which duties hang.
var events = map[string]string{
	"cyber_attack":                  "Was it an attack on an IT system?",
	"service_recipients_affected":   "Is the service to its recipients affected?",
	"significant_cyber_threat":      "Do recipients of the service face a significant cyber threat?",
	"inside_information":            "Is it inside information of a listed issuer?",
	"needed_for_protection":         "Do the persons need to know to protect themselves (Switzerland)?",
	"fdpic_requires":                "Has the FDPIC asked for it?",
	"opens_email_account":           "Do the credentials open an e-mail account?",
	"opens_personal_account":        "Do the credentials open a medical, insurance or financial account?",
	"large_scale":                   "Is it on a large scale (Brazil, Peru)?",
	"direct_loss_rmb_5m":            "Is the direct loss RMB 5 million or more?",
	"leak_possible_persons_unknown": "Is a leak possible, with the persons not yet known (Korea)?",
	"data_traded_by_third_party":    "Does a third party trade the data (Korea)?",
	"suspected_eligible_breach":     "Is an eligible breach suspected (Australia)?",
	"cyber_incident_listed":         "Is it of a kind that CERT-In lists?",
	"breach_of_the_act_by_holder":   "Did the holder breach the Act (Taiwan)?",
	"endangers_operation":           "Does it endanger normal operation or many persons (Taiwan)?",
	"system_holds_10000_records":    "Does the system hold 10,000 records or more (Taiwan)?",
	"severe_security_incident":      "Is it a severe security incident (Israel)?",
}

// flags say what the entity is.
var flags = map[string]string{
	"controller":          "Is the brand the controller of the data?",
	"processor":           "Does the brand hold the data for another controller?",
	"lead_sa_fr":          "Is the CNIL the lead authority?",
	"lead_sa_es":          "Is the AEPD the lead authority?",
	"lead_sa_it":          "Is the Garante the lead authority?",
	"lead_sa_ie":          "Is the DPC the lead authority?",
	"cyber_insured":       "Is there insurance in France against losses from attacks?",
	"nis2_entity":         "Is the entity essential or important under NIS2?",
	"listed_eu":           "Is the issuer listed in the EU?",
	"listed_uk":           "Is the issuer listed in the United Kingdom?",
	"listed_us_domestic":  "Is the issuer a domestic registrant with the SEC?",
	"network_operator_cn": "Is the entity a network operator in China?",
	"body_corporate_in":   "Is the entity a body corporate with users in India?",
	"digital_economy_tw":  "Is the entity of a trade in Annex 1 of Taiwan's measures for the digital economy?",
	"difc_entity":         "Is the entity of the Dubai International Financial Centre?",
	"adgm_entity":         "Is the entity of the Abu Dhabi Global Market?",
	"established_eu":      "Is the controller established in the EEA?",
	"established_gb":      "Is the controller established in the United Kingdom?",
	"established_ch":      "Is the controller established in Switzerland, or does the breach have effects there?",
}

// maliciousName is the statement whether somebody meant harm.
const maliciousName = "malicious"

// question puts what a statement's name asks.
func question(name string) string {
	switch {
	case name == maliciousName:
		return "Was it done with an unlawful purpose?"
	case flags[name] != "":
		return flags[name]
	case events[name] != "":
		return events[name]
	}
	return harms[name].question
}

// eea are the states whose residents the rules of the EU count.
var eea = []string{"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK"}

// filedClock begins the name of a clock that hangs on the notice of another rule.
const filedClock = "filed:"

// clock says which facts start a clock. Of several the earliest counts. A stand-in counts,
// provisionally, while nobody has stated them: the first that was stated.
type clock struct{ facts, standIns []string }

var clocks = map[string]clock{
	"awareness":                 {[]string{"aware"}, []string{"detected"}},
	"discovery":                 {[]string{"discovered"}, []string{"detected", "aware"}},
	"detection":                 {[]string{"detected"}, []string{"discovered", "aware"}},
	"confirmation":              {[]string{"confirmed"}, []string{"determined"}},
	"determination":             {[]string{"determined"}, nil},
	"identification_of_persons": {[]string{"persons-identified"}, nil},
	"materiality":               {[]string{"material"}, nil},
	"personal_data_hit":         {[]string{"personal-data-hit"}, []string{"aware"}},
	"end_of_handling":           {[]string{"handled"}, nil},
	"leak_possible":             {[]string{"leak-possible"}, []string{"aware"}},
	"assessment":                {[]string{"assessed"}, []string{"determined"}},
	"suspicion":                 {[]string{"suspected"}, []string{"leak-possible", "detected", "aware"}},
	"incident":                  {[]string{"occurred-from"}, []string{"detected", "aware"}},
	"occurrence_or_informed":    {[]string{"occurred-from", "aware"}, nil},
	"knowledge_or_belief":       {[]string{"leak-possible", "aware"}, nil},
	"clarification_of_facts":    {[]string{"facts-clear"}, nil},
}
